//! Standard input and output, taken over for the protocol.

use std::io;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::task::ready;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::stdio;
use tokio::fs::File;
use tokio::io::AsyncRead;
use tokio::io::ReadBuf;
use tokio::sync::watch;

/// The first descriptor that is not a standard stream.
const ABOVE_STDERR: i32 = 3;

/// Takes both streams, so that nothing else in this process can read a message or write between two: a verb that reads
/// standard input finds it empty, and what is printed by mistake goes to standard error.
///
/// Read on a thread that sleeps in the kernel, which works alike for pipes, sockets, files and terminals.
pub(super) fn take() -> io::Result<(File, File)> {
    let input = fcntl_dupfd_cloexec(stdio::stdin(), ABOVE_STDERR)?;
    let output = fcntl_dupfd_cloexec(stdio::stdout(), ABOVE_STDERR)?;
    stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    stdio::dup2_stdout(stdio::stderr())?;
    let file = |descriptor| File::from_std(std::fs::File::from(descriptor));
    Ok((file(input), file(output)))
}

/// An input that tells when the other side has left.
pub(super) struct Watched<R> {
    input: R,
    gone: watch::Sender<bool>,
}

/// Watches an input; the receiver turns true at its end.
pub(super) fn watched<R>(input: R) -> (Watched<R>, watch::Receiver<bool>) {
    let (gone, seen) = watch::channel(false);
    (Watched { input, gone }, seen)
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.input).poll_read(cx, buffer));
        if read.is_err() || buffer.filled().len() == before {
            self.gone.send_replace(true);
        }
        Poll::Ready(read)
    }
}
