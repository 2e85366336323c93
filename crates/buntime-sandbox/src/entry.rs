//! The launcher's own side: what runs between spawn and exec.

use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use crate::error::Step;
use crate::layers;
use crate::wire::{self, Plan};

/// argv0 by which the program knows that it is to be the launcher.
pub(crate) const NAME: &str = "buntime-launch";

/// Written to the channel right before exec.
pub(crate) const MARK: u8 = b'E';

/// A step that failed, and what the system answered.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) step: Step,
    pub(crate) source: io::Error,
}

/// Names the step in which an error happened.
pub(crate) trait At<T> {
    fn at(self, step: Step) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step) -> Result<T, Failure> {
        self.map_err(|error| Failure {
            step,
            source: error.into(),
        })
    }
}

pub(crate) fn is_launcher(argv0: Option<&OsStr>) -> bool {
    argv0.and_then(|name| Path::new(name).file_name()) == Some(OsStr::new(NAME))
}

/// Does the launch and never returns.
#[expect(
    clippy::exit,
    reason = "a launcher that failed has nothing to return to"
)]
pub(crate) fn run() -> ! {
    let mut channel = layers::Channel::inherited();
    let Err(failure) = launch(&mut channel);
    let mut report = vec![failure.step as u8];
    let errno = failure.source.raw_os_error().unwrap_or(0);
    report.extend_from_slice(&errno.to_le_bytes());
    // If the server is gone there is nobody left to tell.
    let _ = rustix::io::write(channel.as_fd(), &report);
    std::process::exit(127)
}

fn launch(channel: &mut layers::Channel) -> Result<Infallible, Failure> {
    layers::die_with_parent()?;
    let control = receive_control(channel.as_fd())?;
    let plan = receive_plan(channel.as_fd())?;
    layers::check_parent(plan.parent)?;
    layers::confine(&plan, control, channel)?;
    rustix::io::write(channel.as_fd(), &[MARK]).at(Step::Exec)?;
    layers::exec(&plan)
}

fn receive_control(channel: BorrowedFd<'_>) -> Result<OwnedFd, Failure> {
    let mut byte = [0; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(
        channel,
        &mut [IoSliceMut::new(&mut byte)],
        &mut ancillary,
        RecvFlags::CMSG_CLOEXEC,
    )
    .at(Step::Receive)?;
    let control = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    match control {
        Some(control) if received.bytes == 1 => Ok(control),
        _ => Err(io::Error::from(io::ErrorKind::UnexpectedEof)).at(Step::Receive),
    }
}

fn receive_plan(channel: BorrowedFd<'_>) -> Result<Plan, Failure> {
    let mut input = File::from(channel.try_clone_to_owned().at(Step::Receive)?);
    let mut length = [0; 4];
    input.read_exact(&mut length).at(Step::Receive)?;
    let length = u32::from_le_bytes(length) as usize;
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    if length > wire::LARGEST {
        return Err(invalid()).at(Step::Receive);
    }
    let mut bytes = vec![0; length];
    input.read_exact(&mut bytes).at(Step::Receive)?;
    wire::decode(&bytes).ok_or_else(invalid).at(Step::Receive)
}
