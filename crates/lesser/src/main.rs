//! `lesser WHAT… -- PROGRAM ARGUMENT…`: runs a program as on a machine that lacks things.
//!
//! The program, and all that it starts, gets the answers of a kernel or container without
//! them: `userns` (user namespaces), `landlock`, `seccomp` (filters).

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
    let has_new_user = || {
        let operator = SeccompCmpOp::MaskedEq(NEW_USER);
        SeccompRule::new(vec![SeccompCondition::new(
            0,
            SeccompCmpArgLen::Qword,
            operator,
            NEW_USER,
        )?])
    };
    match what {
        "userns" => Ok(vec![
            refusal(
                libc::EPERM,
                &[
                    (libc::SYS_clone, vec![has_new_user()?]),
                    (libc::SYS_unshare, vec![has_new_user()?]),
                ],
            )?,
            refusal(libc::ENOSYS, &[(libc::SYS_clone3, Vec::new())])?,
        ]),
        "landlock" => Ok(vec![refusal(
            libc::ENOSYS,
            &[(libc::SYS_landlock_create_ruleset, Vec::new())],
        )?]),
        "seccomp" => Ok(vec![refusal(
            libc::ENOSYS,
            &[(libc::SYS_seccomp, Vec::new())],
        )?]),
        other => Err(format!("{other:?} cannot be taken away").into()),
    }
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
