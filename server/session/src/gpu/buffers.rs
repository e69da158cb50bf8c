//! Clients' DMA-BUFs: what is claimed of them, who has how many, and when they are given back.
//!
//! ```text
//!            committed                 the last loan is dropped
//!   client's ──────────► lent (loans) ──────────────────────────► released: the client's again
//! ```
//!
//! A buffer is lent once however often it is committed meanwhile. What has been destroyed is lent for
//! as long as somebody needs it: its memory is held by descriptors of ours. A commit may be held back
//! while its buffer is destroyed, and shows it all the same.
//! Buffers that a flat output was drawn into are lent as well, and go back to their chain.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use heliostat_tiles::Rect as TileRect;
use heliostat_va::dmabuf::{
    self, Dmabuf as Described, Format, Identity, LINEAR, MAX_PLANES, Plane,
};
use heliostat_wire::output::Size;
use smithay::backend::allocator::dmabuf::{Dmabuf, WeakDmabuf};
use smithay::backend::allocator::{Buffer as _, Slot};
use smithay::reexports::wayland_server::Resource;
use smithay::reexports::wayland_server::backend::{ClientId, ObjectId};
use smithay::reexports::wayland_server::protocol::wl_buffer::WlBuffer;

use super::Reading;
use super::devices::{Away, Wake};
use super::offers::{self, Offers};
use super::patience::Patience;
use super::readers::{Opener, Reader};
use super::room::Room;
use super::speed::Speed;
use super::timelines::Release;
use crate::sys::Mapping;

/// Why a client's buffer is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// What is claimed of it is not so.
    #[error(transparent)]
    Claim(#[from] dmabuf::Refused),
    /// It is to be shown upside down.
    #[error("a buffer that lies upside down is not shown")]
    Flags,
    /// The device does not read it.
    #[error("the device does not read it: {0}")]
    Device(String),
    /// There are too many.
    #[error("there are too many buffers already")]
    TooMany,
}

/// The memory of a buffer, as long as this lives.
#[derive(Debug)]
pub struct Memory {
    pub(super) dmabuf: Dmabuf,
    pub(super) format: Format,
    pub(super) size: heliostat_video::Size,
    identities: [Identity; 2],
}

impl Memory {
    /// Checks what a client claims. These layouts are read.
    pub fn check(dmabuf: Dmabuf, modifiers: &[u64]) -> Result<Self, Refused> {
        if dmabuf.y_inverted() {
            return Err(Refused::Flags);
        }
        let side = |side: i32| u32::try_from(side).unwrap_or(0);
        let size = heliostat_video::Size {
            w: side(dmabuf.size().w),
            h: side(dmabuf.size().h),
        };
        let mut memory = Self {
            format: dmabuf::NV12,
            size,
            identities: [Identity::default(); 2],
            dmabuf,
        };
        (memory.format, memory.identities) = memory.with(|described| {
            // Only then may the kernel be asked more.
            let mut planes = described.planes.iter();
            if let Some(plane) = planes.position(|plane| !dmabuf::is_steady(plane.fd)) {
                return Err(dmabuf::Refused::Unsteady(plane));
            }
            let objects = dmabuf::look(described)?;
            let (format, _) = dmabuf::check(described, &objects, size, modifiers)?;
            Ok((format, [objects[0].identity, objects[1].identity]))
        })?;
        Ok(memory)
    }

    /// Of what no kernel has been asked about.
    #[cfg(test)]
    pub(super) fn unchecked(dmabuf: Dmabuf) -> Self {
        let format = Format::of_drm(dmabuf.format().code as u32).expect("a format");
        let side = |side: i32| u32::try_from(side).expect("a side");
        let (w, h) = (side(dmabuf.size().w), side(dmabuf.size().h));
        Self {
            format,
            size: heliostat_video::Size { w, h },
            identities: [Identity::default(); 2],
            dmabuf,
        }
    }

    /// Lets somebody see it as libva is told of it.
    pub fn with<T>(&self, see: impl FnOnce(&Described<'_>) -> T) -> T {
        let mut planes = self.planes();
        // There is one at least.
        let first = planes.next().expect("a buffer has planes");
        let mut list = [first; MAX_PLANES];
        let mut count = 1;
        for (at, plane) in list[1..].iter_mut().zip(planes) {
            *at = plane;
            count += 1;
        }
        see(&Described {
            format: self.dmabuf.format().code as u32,
            size: self.size,
            modifier: self.dmabuf.format().modifier.into(),
            planes: &list[..count],
        })
    }

    pub(super) fn planes(&self) -> impl Iterator<Item = Plane<'_>> {
        let places = self.dmabuf.offsets().zip(self.dmabuf.strides());
        let planes = self.dmabuf.handles().zip(places);
        planes.map(|(fd, (offset, pitch))| Plane { fd, offset, pitch })
    }

    /// Whether its rows are one after the other.
    pub(super) fn is_linear(&self) -> bool {
        offers::is_linear(&self.dmabuf.format())
    }

    /// Its size, as videos have it.
    pub fn size(&self) -> heliostat_video::Size {
        self.size
    }
}

/// A buffer that a client has made, or the session itself.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) memory: Arc<Memory>,
    pub(super) maps: OnceCell<Vec<Mapping>>,
    pub(super) shared: Rc<Shared>,
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut gone = self.shared.gone.borrow_mut();
        let [first, second] = self.memory.identities;
        gone.push(first);
        gone.extend((second != first && second != Identity::default()).then_some(second));
    }
}

/// What is known of all buffers together.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Those of which nobody knows any more.
    gone: RefCell<Vec<Identity>>,
    pub(super) read_bytes: Cell<u64>,
    /// How fast the processor reads.
    pub(super) speed: RefCell<Speed>,
    /// That a client's buffer could not be read was said.
    pub(super) has_warned: Cell<bool>,
    /// How long clients that still draw may be waited for.
    pub(super) patience: RefCell<Patience>,
    /// Something draws into all of them, and does not cease to.
    #[cfg(test)]
    pub(super) is_drawn_into: Cell<bool>,
    /// How often GLES has ended.
    pub(super) gles_ends: Cell<u64>,
    /// What reads beside the processor, and when it does.
    pub(super) reader: RefCell<Reader>,
    pub(super) wanted: Cell<Reading>,
    /// It has ended, and may come back.
    pub(super) away: RefCell<Option<(Away, Opener)>>,
    /// All that was ever offered, and something else that is from now on.
    pub(super) offers: RefCell<Offers>,
    pub(super) new_offers: RefCell<Option<Offers>>,
}

impl Shared {
    fn modifiers_of(&self, dmabuf: &Dmabuf) -> Vec<u64> {
        self.offers.borrow().modifiers_of(dmabuf.format().code)
    }
}

#[derive(Debug)]
struct Entry {
    /// None once its client has destroyed it.
    known: Option<Rc<Known>>,
    /// Commits that are held back have it too.
    dmabuf: WeakDmabuf,
    client: Option<ClientId>,
    lent: Weak<Lent>,
}

impl Entry {
    /// Whether its descriptors are open, for its client or for a commit that is held back.
    fn is_open(&self) -> bool {
        self.known.is_some() || !self.dmabuf.is_gone()
    }
}

/// All buffers of all clients.
#[derive(Debug, Default)]
pub struct Buffers {
    known: HashMap<ObjectId, Entry>,
    room: Room,
    shared: Rc<Shared>,
}

impl Buffers {
    /// Whether a client may have one more. Where all together have as many as there may be, who else has
    /// most is named, and has to go for that.
    pub fn have_room(&mut self, client: Option<&ClientId>) -> Result<Option<ClientId>, Refused> {
        if self.room.is_ample(self.known.len()) {
            return Ok(None);
        }
        self.known.retain(|_, entry| entry.is_open());
        let owners = self.known.values().map(|entry| entry.client.as_ref());
        let hoarder = self.room.make(owners, client)?;
        Ok(hoarder.cloned())
    }

    /// From now on there is something that reads beside the processor, where it is wanted, and clients make
    /// such buffers.
    pub fn read_by(&mut self, reader: Reader, wanted: Reading, offers: Offers) {
        *self.shared.reader.borrow_mut() = reader;
        self.shared.wanted.set(wanted);
        *self.shared.offers.borrow_mut() = offers;
    }

    /// Checks a buffer that a client has described.
    pub fn check(&self, dmabuf: Dmabuf) -> Result<Memory, Refused> {
        let modifiers = self.shared.modifiers_of(&dmabuf);
        let memory = Memory::check(dmabuf, &modifiers)?;
        // Its client is told at once, and may make another. What was offered once is taken when nobody
        // reads it any more: a client that hears of that too late is not to blame.
        let taken = match memory.is_linear() {
            true => Ok(()),
            false => self.shared.is_taken_by_device(&memory.dmabuf),
        };
        taken.map_err(Refused::Device)?;
        Ok(memory)
    }

    /// What reads beside the processor comes back when its device does, which `wake` tells the loop of.
    /// Returns whether it just has.
    pub fn mind_reader(&self, now: Instant, wake: impl FnOnce() -> Wake) -> bool {
        self.shared.mind_reader(now, wake)
    }

    /// When to look for that.
    pub fn reader_deadline(&self) -> Option<Instant> {
        let away = self.shared.away.borrow();
        away.as_ref().and_then(|(away, _)| away.deadline())
    }

    /// Where something else is offered since this was asked last, what that is.
    pub fn take_new_offers(&self) -> Option<Offers> {
        self.shared.new_offers.take()
    }

    /// From now on there is so much room.
    #[cfg(test)]
    pub fn limit(&mut self, room: Room) {
        self.room = room;
    }

    /// As if something drew into all of them, or did no more.
    #[cfg(test)]
    pub fn draw_into_all(&self, on: bool) {
        self.shared.is_drawn_into.set(on);
    }

    /// A buffer with this memory.
    #[cfg(test)]
    pub(super) fn known(&self, memory: Memory) -> Rc<Known> {
        Known::new(memory, &self.shared)
    }

    /// What reads beside the processor.
    #[cfg(test)]
    pub fn reader(&self) -> std::cell::RefMut<'_, Reader> {
        self.shared.reader.borrow_mut()
    }

    /// A client has made a buffer.
    pub fn add(&mut self, buffer: &WlBuffer, memory: Memory) {
        let entry = Entry {
            dmabuf: memory.dmabuf.weak(),
            known: Some(Known::new(memory, &self.shared)),
            client: buffer.client().map(|client| client.id()),
            lent: Weak::new(),
        };
        self.known.insert(buffer.id(), entry);
    }

    /// A client has destroyed a buffer. What is known of it is thrown away; the buffer counts until
    /// no commit has it.
    pub fn remove(&mut self, buffer: &WlBuffer) {
        if let Some(entry) = self.known.get_mut(&buffer.id()) {
            entry.known = None;
        }
    }

    /// A buffer that was committed, if it is one of these. When nobody needs it for this commit any
    /// more, that is what `release` tells.
    pub fn lend(&mut self, buffer: &WlBuffer, release: Option<Release>) -> Option<Loan> {
        let entry = self.known.get_mut(&buffer.id())?;
        let lent = match entry.lent.upgrade() {
            Some(lent) => lent,
            None => {
                let known = match &entry.known {
                    Some(known) => Rc::clone(known),
                    None => {
                        let dmabuf = entry.dmabuf.upgrade()?;
                        let modifiers = self.shared.modifiers_of(&dmabuf);
                        let memory = Memory::check(dmabuf, &modifiers).ok()?;
                        Known::new(memory, &self.shared)
                    }
                };
                Rc::new(Lent {
                    giver: Giver::Client(buffer.clone()),
                    known,
                })
            }
        };
        entry.lent = Rc::downgrade(&lent);
        Some(Loan {
            lent,
            _release: release,
        })
    }

    /// A buffer that the session has drawn into.
    pub fn lend_own(&self, slot: Slot<Dmabuf>) -> Result<Loan, Refused> {
        let known = match slot.userdata().get::<Rc<Known>>() {
            Some(known) => Rc::clone(known),
            None => {
                let memory = Memory::check(Dmabuf::clone(&slot), &[LINEAR])?;
                let known = Known::new(memory, &self.shared);
                slot.userdata().insert_if_missing(|| Rc::clone(&known));
                known
            }
        };
        let giver = Giver::Session(slot);
        Ok(Loan {
            lent: Rc::new(Lent { giver, known }),
            _release: None,
        })
    }

    /// So many bytes of pixels were read back of what was composed.
    pub fn count_read(&self, bytes: u64) {
        let counted = &self.shared.read_bytes;
        counted.set(counted.get() + bytes);
    }

    /// GLES has ended, be it for these buffers or for outputs.
    pub fn count_gles_end(&self) {
        self.shared.count_gles_end();
    }

    /// How often GLES has ended.
    pub fn gles_ends(&self) -> u64 {
        self.shared.gles_ends.get()
    }

    /// Buffers that are gone since this was asked last.
    pub fn take_gone(&mut self) -> Vec<Identity> {
        std::mem::take(&mut self.shared.gone.borrow_mut())
    }

    /// Bytes of pixels that the processor has read of them, and of what was composed.
    pub fn read_bytes(&self) -> u64 {
        self.shared.read_bytes.get()
    }

    /// Buffers that clients have, and those of them that are lent now.
    #[cfg(test)]
    pub fn count(&self) -> (usize, usize) {
        let has = |entry: &&Entry| entry.known.is_some();
        let lent = |entry: &&Entry| entry.lent.strong_count() > 0;
        let count = |is: fn(&&Entry) -> bool| self.known.values().filter(is).count();
        (count(has), count(lent))
    }
}

/// A buffer that is not given back while there is one of these.
#[derive(Debug, Clone)]
pub struct Loan {
    lent: Rc<Lent>,
    _release: Option<Release>,
}

#[derive(Debug)]
struct Lent {
    giver: Giver,
    known: Rc<Known>,
}

/// Whom it is given back to.
#[derive(Debug)]
enum Giver {
    Client(WlBuffer),
    /// Its chain, which draws into it again when this is dropped.
    Session(#[expect(dead_code, reason = "it is held, and that is all")] Slot<Dmabuf>),
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Giver::Client(buffer) = &self.giver {
            buffer.release();
        }
    }
}

impl Loan {
    /// Its sides in pixels.
    pub fn sides(&self) -> (i32, i32) {
        let size = self.lent.known.memory.dmabuf.size();
        (size.w, size.h)
    }

    /// Whether its alpha counts.
    pub fn alpha(&self) -> bool {
        // `AR24` and `AB24`.
        self.lent.known.memory.format.drm.to_le_bytes()[0] == b'A'
    }

    /// Whether it is a picture of luma and chroma, as films are.
    pub fn is_nv12(&self) -> bool {
        self.lent.known.memory.format.is_nv12
    }

    /// The buffer itself.
    pub fn dmabuf(&self) -> &Dmabuf {
        &self.lent.known.memory.dmabuf
    }

    /// Whether nothing draws into it any more.
    pub fn is_drawn(&self) -> bool {
        self.lent.known.memory.is_drawn(Duration::ZERO)
    }

    /// Whether the encoder reads its layout, where it reads its format.
    pub fn is_encoded(&self) -> bool {
        let Known { memory, shared, .. } = &*self.lent.known;
        self.is_own() || shared.offers.borrow().is_encoded(memory.dmabuf.format())
    }

    /// Whether the session has drawn into it.
    pub fn is_own(&self) -> bool {
        matches!(self.lent.giver, Giver::Session(_))
    }

    /// What the encoder is given.
    pub fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.lent.known.memory)
    }

    /// Lets `see` read the pixels (0xAARRGGBB) of each of `rects`, row by row. Nothing else of it is
    /// looked at, but for what shares its chroma. False where they cannot be read.
    pub fn read(
        &self,
        rects: &[TileRect],
        see: impl FnMut(TileRect, &mut dyn FnMut(u32, u32, &mut [u32]) -> bool),
    ) -> bool {
        self.lent.known.read(rects, see)
    }
}

impl Known {
    fn new(memory: Memory, shared: &Rc<Shared>) -> Rc<Self> {
        Rc::new(Self {
            memory: Arc::new(memory),
            maps: OnceCell::new(),
            shared: Rc::clone(shared),
        })
    }
}

/// The size of a layer with these pixels.
impl From<&Loan> for Size {
    fn from(loan: &Loan) -> Self {
        let size = loan.lent.known.memory.size;
        Self {
            w: size.w,
            h: size.h,
        }
    }
}
