//! Why a process could not be started.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// What a child was doing when it failed to become its program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Step {
    /// Asking to be killed when the server dies.
    DeathSignal = 1,
    /// Making sure that the server still lives.
    Parent = 2,
    /// Leading a group of its own.
    Group = 3,
    /// Giving up the right to gain privileges.
    Privileges = 4,
    /// Placing and closing descriptors.
    Descriptors = 5,
    /// Resetting signals.
    Signals = 6,
    /// Setting resource limits.
    Limits = 7,
    /// Lowering the priority.
    Nice = 8,
    /// Entering the working directory.
    Directory = 9,
    /// Replacing itself with the program.
    Exec = 10,
    /// Naming its user in a user namespace.
    User = 11,
    /// Putting a private root together.
    Root = 12,
    /// Mounting `/proc` in it.
    Proc = 13,
    /// Giving up capabilities.
    Capabilities = 14,
    /// Coming under Landlock's rules.
    Landlock = 15,
    /// Coming under the list of system calls.
    Calls = 16,
    /// Entering a network of its own.
    Network = 17,
    /// Finding what it was granted as it was when that was judged.
    Held = 18,
}

impl Step {
    const ALL: [Self; 18] = [
        Self::DeathSignal,
        Self::Parent,
        Self::Group,
        Self::Privileges,
        Self::Descriptors,
        Self::Signals,
        Self::Limits,
        Self::Nice,
        Self::Directory,
        Self::Exec,
        Self::User,
        Self::Root,
        Self::Proc,
        Self::Capabilities,
        Self::Landlock,
        Self::Calls,
        Self::Network,
        Self::Held,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u8 == byte)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DeathSignal => "set the parent death signal",
            Self::Parent => "find its parent alive",
            Self::Group => "lead a process group",
            Self::Privileges => "set no_new_privs",
            Self::Descriptors => "set up descriptors",
            Self::Signals => "reset signals",
            Self::Limits => "set resource limits",
            Self::Nice => "set the priority",
            Self::Directory => "enter the working directory",
            Self::Exec => "execute the program",
            Self::User => "name its user in a user namespace",
            Self::Root => "put its private root together",
            Self::Proc => "mount /proc",
            Self::Capabilities => "give up capabilities",
            Self::Landlock => "come under Landlock's rules",
            Self::Calls => "come under the list of system calls",
            Self::Network => "enter a network of its own",
            Self::Held => "find what was granted unchanged",
        })
    }
}

/// Why [`Launcher::spawn`](crate::Launcher::spawn) failed. No process is left
/// behind by any of these.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// The launch itself cannot be expressed: a NUL byte, a relative program
    /// path, more than 4 MiB in all.
    #[error("cannot launch {program}: {reason}")]
    Invalid {
        /// The program that was to run.
        program: PathBuf,
        /// What is wrong with the launch.
        reason: &'static str,
    },
    /// What confines the process cannot be made ready.
    #[error("cannot prepare what confines {program}")]
    Policy {
        /// The program that was to run.
        program: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The system has no process to give, or none with namespaces.
    #[error("cannot start a process for {program}")]
    Start {
        /// The program that was to run.
        program: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The process started and one of its steps failed.
    #[error("launcher could not {step} ({path})")]
    Step {
        /// The step that failed.
        step: Step,
        /// The working directory for [`Step::Directory`], else the program.
        path: PathBuf,
        /// What the system answered.
        #[source]
        source: io::Error,
    },
    /// The launcher's thread is gone.
    #[error("the launcher has stopped")]
    Stopped,
}

/// Why [`Launcher::forward`](crate::Launcher::forward) failed. Nothing listens then that did
/// not before.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// The process has no network of its own.
    #[error("the process has no network of its own")]
    NoNetwork,
    /// The process is gone, an address is taken or none to listen at, or the system refused.
    #[error("cannot listen in a process's network: {0}")]
    System(#[from] io::Error),
    /// The launcher's thread is gone.
    #[error("the launcher has stopped")]
    Stopped,
}

/// Why [`Launcher::attach`](crate::Launcher::attach) failed. The process may see some of
/// what it was to see; it should end.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process is gone, what it was to see is not there, or the system refused.
    #[error("cannot show a running process more files: {0}")]
    System(#[from] io::Error),
    /// The launcher's thread is gone.
    #[error("the launcher has stopped")]
    Stopped,
}
