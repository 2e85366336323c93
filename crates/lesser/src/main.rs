//! `lesser WHAT… -- PROGRAM ARGUMENT…`: runs a program as on a machine that lacks things.
//!
//! The program, and all that it starts, gets the answers of a kernel or container without
//! them: `userns` and `netns` (user and network namespaces), `landlock`, `seccomp`
//! (filters), `notify` (filters that ask).

use std::collections::BTreeMap;
use std::error::Error;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

const NEW_USER: u64 = libc::CLONE_NEWUSER.unsigned_abs() as u64;
const NEW_NET: u64 = libc::CLONE_NEWNET.unsigned_abs() as u64;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let lacks: Vec<OsString> = arguments.by_ref().take_while(|word| word != "--").collect();
    let program = arguments.next().ok_or("no program")?;
    for what in &lacks {
        for filter in refusals(what.to_str().unwrap_or_default())? {
            seccompiler::apply_filter(&filter)?;
        }
    }
    Err(Command::new(program).args(arguments).exec().into())
}

/// What takes something away.
fn refusals(what: &str) -> Result<Vec<BpfProgram>, Box<dyn Error>> {
    let namespace = |flag: u64| {
        let calls = [libc::SYS_clone, libc::SYS_unshare];
        let calls = calls.map(|call| Ok((call, vec![has(0, flag)?])));
        let calls: Result<Vec<_>, Box<dyn Error>> = calls.into_iter().collect();
        Ok(vec![
            refusal(libc::EPERM, &calls?)?,
            refusal(libc::ENOSYS, &[(libc::SYS_clone3, Vec::new())])?,
        ])
    };
    match what {
        "userns" => namespace(NEW_USER),
        "netns" => namespace(NEW_NET),
        "landlock" => Ok(vec![refusal(
            libc::ENOSYS,
            &[(libc::SYS_landlock_create_ruleset, Vec::new())],
        )?]),
        "seccomp" => Ok(vec![refusal(
            libc::ENOSYS,
            &[(libc::SYS_seccomp, Vec::new())],
        )?]),
        "notify" => Ok(vec![refusal(
            libc::EINVAL,
            &[(
                libc::SYS_seccomp,
                vec![has(1, libc::SECCOMP_FILTER_FLAG_NEW_LISTENER)?],
            )],
        )?]),
        other => Err(format!("{other:?} cannot be taken away").into()),
    }
}

/// That an argument has this bit.
fn has(argument: u8, bit: u64) -> Result<SeccompRule, Box<dyn Error>> {
    let operator = SeccompCmpOp::MaskedEq(bit);
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Qword, operator, bit)?;
    Ok(SeccompRule::new(vec![condition])?)
}

/// Answers these calls with an error, under these conditions.
fn refusal(error: i32, calls: &[(i64, Vec<SeccompRule>)]) -> Result<BpfProgram, Box<dyn Error>> {
    let rules: BTreeMap<i64, Vec<SeccompRule>> = calls.iter().cloned().collect();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(error.unsigned_abs()),
        std::env::consts::ARCH.try_into()?,
    )?;
    Ok(filter.try_into()?)
}
