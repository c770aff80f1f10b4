//! Taking in what a command prints: all of it is counted and digested, a bounded part is kept.

use std::collections::VecDeque;
use std::io::Read;

use sha2::Digest;
use sha2::Sha256;

use super::Output;

/// What was printed so far.
pub(super) struct Collected {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    half: usize,
    bytes: u64,
    digest: Sha256,
}

impl Collected {
    /// Keeps this many bytes: one half of the beginning, one of the end.
    pub(super) fn keeping(bytes: usize) -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), half: bytes / 2, bytes: 0, digest: Sha256::new() }
    }

    pub(super) fn take(&mut self, part: &[u8]) {
        self.bytes += part.len() as u64;
        self.digest.update(part);
        let (first, rest) = part.split_at(part.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(self.half)..];
        let over = (self.tail.len() + rest.len()).saturating_sub(self.half);
        self.tail.drain(..over);
        self.tail.extend(rest);
    }

    /// What is kept, as text.
    pub(super) fn output(&self) -> Output {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let left_out = self.bytes - kept;
        let mut bytes = self.head.clone();
        if left_out > 0 {
            bytes.extend_from_slice(format!("\n[{left_out} bytes are left out here]\n").as_bytes());
        }
        bytes.extend(&self.tail);
        Output {
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes: self.bytes,
            sha256: self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect(),
            cut: left_out > 0,
        }
    }
}

/// Hands everything that a pipe gives to `into`, until its last writer is gone.
pub(super) fn drain(mut pipe: impl Read, mut into: impl FnMut(&[u8])) {
    let mut part = vec![0; 64 * 1024];
    loop {
        match pipe.read(&mut part) {
            Ok(0) => return,
            Ok(read) => into(&part[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            // A pipe that cannot be read has nothing more to give.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collected(parts: &[&str], keep: usize) -> Output {
        let mut collected = Collected::keeping(keep);
        for part in parts {
            collected.take(part.as_bytes());
        }
        collected.output()
    }

    #[test]
    fn a_cut_says_how_much_is_left_out_and_the_digest_is_of_all() {
        let whole = collected(&["abc", "", "defg"], 8);
        assert_eq!((whole.text.as_str(), whole.cut, whole.bytes), ("abcdefg", false, 7));
        let cut = collected(&["abcdefgh", "ijklmnop", "q"], 8);
        assert_eq!(cut.text, "abcd\n[9 bytes are left out here]\nnopq");
        assert_eq!((cut.cut, cut.bytes), (true, 17));
        assert_eq!(cut.sha256, collected(&["abcdefghijklmnopq"], 100).sha256);
        assert_eq!(collected(&["abcdefgh"], 8).text, "abcdefgh");
    }

    proptest::proptest! {
        #[test]
        fn no_way_of_cutting_the_stream_changes_what_is_kept(
            parts in proptest::collection::vec("[a-z]{0,9}", 0..9),
            keep in 0_usize..20,
        ) {
            let whole = parts.concat();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            proptest::prop_assert_eq!(collected(&parts, keep), collected(&[&whole], keep));
        }
    }
}
