//! Giving up rights, for this thread and whatever it starts: files by Landlock, sockets by seccomp.
//!
//! Landlock keeps from files, from TCP and from signals to others, but not from a socket that has a path, such as tmux's,
//! nor from UDP. The filter of system calls does that.

use std::path::Path;

use landlock::ABI;
use landlock::Access;
use landlock::AccessFs;
use landlock::AccessNet;
use landlock::BitFlags;
use landlock::CompatLevel;
use landlock::Compatible;
use landlock::LandlockStatus;
use landlock::PathBeneath;
use landlock::PathFd;
use landlock::RestrictionStatus;
use landlock::Ruleset;
use landlock::RulesetAttr;
use landlock::RulesetCreated;
use landlock::RulesetCreatedAttr;
use landlock::RulesetStatus;
use landlock::Scope;
use rustix::thread::CapabilitiesSecureBits;
use rustix::thread::CapabilitySet;
use rustix::thread::CapabilitySets;
use rustix::thread::set_capabilities;
use rustix::thread::set_capabilities_secure_bits;
use seccompiler::BpfProgram;
use seccompiler::SeccompAction;
use seccompiler::SeccompCmpArgLen;
use seccompiler::SeccompCmpOp;
use seccompiler::SeccompCondition;
use seccompiler::SeccompFilter;
use seccompiler::SeccompRule;

use super::Held;
use super::Reach;

/// What is asked of the kernel. A newer one enforces the same; an older one as much as it can, which is then reported.
const WANTED: ABI = ABI::V6;

/// The oldest Landlock that is enough. Before it, whoever may not even read a file may cut it to nothing.
const OLDEST: ABI = ABI::V3;

/// Gives up everything but `reach`, for ever, for this thread and all that it starts.
///
/// Errors: when that is not enough to run a command; its thread must then start none.
pub(super) fn restrict(reach: &Reach) -> Result<Held, String> {
    let status = files(reach).map_err(|error| format!("Landlock could not be set up: {error}"))?;
    let complete = is_complete(status.landlock, &status.ruleset)
        .map_err(|why| format!("{why}, so the command was not run"))?;
    sockets(reach.network)
        .map_err(|error| format!("the filter of system calls could not be set up: {error}"))?;
    let powerless = powers();
    Ok(Held { engine: "landlock".to_owned(), complete: complete && powerless, network: reach.network })
}

/// Whether everything that is asked for is enforced, by the Landlock that was found and what it took.
///
/// Errors: what is missing, where that is too much.
fn is_complete(found: LandlockStatus, taken: &RulesetStatus) -> Result<bool, String> {
    let abi = match found {
        LandlockStatus::NotImplemented => return Err("this kernel has no Landlock".to_owned()),
        LandlockStatus::NotEnabled => {
            return Err("Landlock is switched off on this machine (the kernel's parameter `lsm=`)".to_owned());
        }
        LandlockStatus::Available { effective_abi, .. } => effective_abi,
    };
    if abi < OLDEST {
        return Err(format!(
            "this kernel's Landlock is version {}, and one before {} lets a command cut off files that it may not read",
            abi as i32, OLDEST as i32
        ));
    }
    match taken {
        RulesetStatus::FullyEnforced => Ok(true),
        RulesetStatus::PartiallyEnforced => Ok(false),
        RulesetStatus::NotEnforced => Err("Landlock took none of the rules".to_owned()),
    }
}

/// Gives up root's capabilities, also those that a program started by root would get back: with them a command looks
/// into other processes past Landlock (measured on 6.18 with `CAP_PERFMON`). Whether none is left.
fn powers() -> bool {
    let locked = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED;
    // Who is not root is refused this, and has nothing to give up.
    let kept_from_root =
        set_capabilities_secure_bits(locked).is_ok() || !rustix::process::geteuid().is_root();
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).is_ok() && kept_from_root
}

fn files(reach: &Reach) -> Result<RestrictionStatus, landlock::RulesetError> {
    let (read, all) = (AccessFs::from_read(WANTED), AccessFs::from_all(WANTED));
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)?
        .scope(Scope::from_all(WANTED))?;
    if !reach.network {
        rules = rules.handle_access(AccessNet::from_all(WANTED))?;
    }
    let mut rules = rules.create()?;
    for path in &reach.read {
        rules = allow(rules, path, read)?;
    }
    for path in &reach.write {
        rules = allow(rules, path, all)?;
    }
    rules.restrict_self()
}

/// A path that is not there gives nothing.
fn allow(
    rules: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(opened) = PathFd::new(path) else { return Ok(rules) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(WANTED) };
    rules.add_rule(PathBeneath::new(opened, access))
}

fn sockets(network: bool) -> Result<(), Box<dyn std::error::Error>> {
    let local = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, libc::AF_UNIX as u64)?;
    // No rule at all matches each call.
    let denied = if network { vec![SeccompRule::new(vec![local])?] } else { Vec::new() };
    // io_uring opens and connects sockets without the calls that are filtered here.
    let calls = [(libc::SYS_socket, denied), (libc::SYS_io_uring_setup, Vec::new())];
    let filter = SeccompFilter::new(
        calls.into_iter().collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(libc::EACCES as u32),
        std::env::consts::ARCH.try_into()?,
    )?;
    let program: BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a kernel with this version of Landlock offers.
    fn with(effective_abi: ABI) -> LandlockStatus {
        LandlockStatus::Available { effective_abi, kernel_abi: None }
    }

    #[test]
    fn without_a_landlock_that_is_enough_nothing_is_run() {
        let (full, none) = (RulesetStatus::FullyEnforced, RulesetStatus::NotEnforced);
        let part = RulesetStatus::PartiallyEnforced;
        for (found, why) in [
            (LandlockStatus::NotImplemented, "has no Landlock"),
            (LandlockStatus::NotEnabled, "switched off"),
            (with(ABI::V1), "version 1"),
            (with(ABI::V2), "version 2"),
        ] {
            for taken in [&full, &part, &none] {
                let refused = is_complete(found, taken).unwrap_err();
                assert!(refused.contains(why), "{found:?} {taken:?}: {refused}");
            }
        }
        for abi in [ABI::V3, ABI::V4, ABI::V5] {
            assert_eq!(is_complete(with(abi), &part), Ok(false), "{abi:?}");
        }
        assert_eq!(is_complete(with(WANTED), &full), Ok(true));
        assert!(is_complete(with(WANTED), &none).is_err());
    }
}
