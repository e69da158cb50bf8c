//! Looks at what is scanned out.
//!
//! The display itself writes a picture of it to memory (its writeback connector), as composed of all planes. That
//! needs the master's right, so a terminal that is the master lends its open device: it is stopped meanwhile, which
//! keeps its picture still and its commits out of ours.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use drm::buffer::{Buffer as _, DrmFourcc};
use drm::control::{AtomicCommitFlags, Device as _, connector, plane};
use drm::{ClientCapability, Device as _};
use hil_local::framebuffer::Shot;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};

use super::buffer::inode;
use super::card::{Card, Request};
use crate::sys::FencePlace;

/// How long a display may take to write a picture; vkms does so within a few refreshes.
const PATIENCE: Duration = Duration::from_secs(20);

/// What stands behind a plane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScannedOut {
    /// The plane.
    pub plane: plane::Handle,
    /// Pixels of the framebuffer.
    pub size: (u32, u32),
    /// Its format.
    pub format: DrmFourcc,
    /// The inode of its buffer: the DMA-BUF's own, where one was imported.
    pub inode: u64,
    /// Where it is on the screen.
    pub at: (i32, i32),
}

/// The picture of a card's screen, for its master.
pub fn picture(card: &Card) -> Result<Shot> {
    card.set_client_capability(ClientCapability::WritebackConnectors, true)
        .context("the display cannot write back")?;
    let taken = take(card);
    // A terminal that lends its device is not to find a connector more.
    card.set_client_capability(ClientCapability::WritebackConnectors, false)?;
    taken
}

fn take(card: &Card) -> Result<Shot> {
    let crtc = card.crtc()?;
    let writeback = writeback_connector(card)?;
    let connector = card.object(writeback)?;
    let mode = card.get_crtc(crtc)?.mode().context("the screen is off")?;
    let (w, h) = mode.size();
    let (w, h) = (u32::from(w), u32::from(h));
    let mut buffer = card.create_dumb_buffer((w, h), DrmFourcc::Xrgb8888, 32)?;
    let framebuffer = card.add_framebuffer(&buffer, 24, 32)?;
    let fence = FencePlace::new();
    let mut request = Request::default();
    request.set(&connector, "CRTC_ID", u32::from(crtc).into())?;
    request.set(&connector, "WRITEBACK_FB_ID", u32::from(framebuffer).into())?;
    request.set(&connector, "WRITEBACK_OUT_FENCE_PTR", fence.address())?;
    card.commit(request, AtomicCommitFlags::ALLOW_MODESET)
        .context("ask for a picture")?;
    let written = wait(fence.take());
    let mut request = Request::default();
    request.set(&connector, "CRTC_ID", 0)?;
    card.commit(request, AtomicCommitFlags::ALLOW_MODESET)
        .context("end writing back")?;
    card.destroy_framebuffer(framebuffer)?;
    let pitch = buffer.pitch() as usize;
    let pixels = {
        let map = card.map_dumb_buffer(&mut buffer)?;
        map.chunks_exact(pitch)
            .take(h as usize)
            .flat_map(|row| &row[..w as usize * 4])
            .copied()
            .collect()
    };
    card.destroy_dumb_buffer(buffer)?;
    written?;
    Ok(Shot { w, h, pixels })
}

fn writeback_connector(card: &Card) -> Result<connector::Handle> {
    for handle in card.resource_handles()?.connectors() {
        if card.get_connector(*handle, false)?.interface() == connector::Interface::Writeback {
            return Ok(*handle);
        }
    }
    anyhow::bail!("the display has no writeback connector")
}

fn wait(fence: Option<OwnedFd>) -> Result<()> {
    let fence = fence.context("the display promised no picture")?;
    let timeout = Timespec {
        tv_sec: PATIENCE.as_secs() as i64,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&fence, PollFlags::IN)];
    ensure!(
        poll(&mut fds, Some(&timeout))? == 1,
        "the display has written no picture within {PATIENCE:?}"
    );
    Ok(())
}

/// What stands behind the planes that are on; whoever is root may ask without being the master.
pub fn scanned_out(card: &Card) -> Result<Vec<ScannedOut>> {
    let mut found = Vec::new();
    for plane in card.planes()? {
        let handle = plane.object.handle;
        let Some(framebuffer) = card.get_plane(handle)?.framebuffer() else {
            continue;
        };
        // It may have been taken away since.
        let Ok(info) = card.get_planar_framebuffer(framebuffer) else {
            continue;
        };
        let buffer = info.buffers()[0]
            .context("the kernel gives no buffers of framebuffers; are we root?")?;
        let fd = card.buffer_to_prime_fd(buffer, drm::CLOEXEC);
        let mut buffers: Vec<_> = info.buffers().into_iter().flatten().collect();
        buffers.sort_by_key(|buffer| u32::from(*buffer));
        buffers.dedup();
        for buffer in buffers {
            card.close_buffer(buffer)?;
        }
        let place = |name: &str| plane.object.value(name).unwrap_or(0) as i32;
        found.push(ScannedOut {
            plane: handle,
            size: info.size(),
            format: info.pixel_format(),
            inode: inode(fd?.as_fd())?,
            at: (place("CRTC_X"), place("CRTC_Y")),
        });
    }
    Ok(found)
}

/// The picture of the screen that a running terminal is the master of.
pub fn picture_of(terminal: u32) -> Result<Shot> {
    let pid = Pid::from_raw(terminal as i32);
    kill(pid, Signal::SIGSTOP)?;
    let taken = borrow(terminal).and_then(|card| picture(&card));
    kill(pid, Signal::SIGCONT)?;
    taken
}

/// The terminal's own open device.
fn borrow(terminal: u32) -> Result<Card> {
    let folder = format!("/proc/{terminal}/fd");
    let pid = rustix::process::Pid::from_raw(terminal as i32).context("a process")?;
    let process = pidfd_open(pid, PidfdFlags::empty())?;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        if !target.to_string_lossy().starts_with("/dev/dri/card") {
            continue;
        }
        let number = entry.file_name().to_string_lossy().parse()?;
        let card = Card::lent(pidfd_getfd(&process, number, PidfdGetfdFlags::empty())?);
        if card.get_driver()?.name() == "vkms" {
            return Ok(card);
        }
    }
    anyhow::bail!("the terminal has no display open")
}
