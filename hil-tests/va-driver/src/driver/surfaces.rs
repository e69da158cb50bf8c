//! Surfaces: made, imported, exported, waited for.

use std::os::fd::IntoRawFd;

use super::{Driver, Job};
use crate::format::{self, Format, MAX_SIDE, NV12, PITCH_ALIGNMENT, PlaneLayout, name};
use crate::journal::{Counts, Use};
use crate::process::Pixels;
use crate::refusal::{Done, refuse};
use crate::sys::memory::{Access, Mapping, NotImported, Object};
use crate::va::{self, Id, status, surface_status};

/// Surfaces of one display.
pub const MAX_SURFACES: usize = 512;

/// A picture in memory that other devices can reach.
#[derive(Debug)]
pub struct Surface {
    /// Its format.
    pub format: Format,
    /// Width and height in pixels.
    pub size: (u32, u32),
    pub(super) objects: Vec<Object>,
    pub(super) planes: Vec<PlaneLayout>,
    /// The context whose open picture it is the target of.
    pub(super) target_of: Option<Id>,
    /// What was done with it and not waited for.
    pub(super) pending: Option<Job>,
    /// Why what was done has failed; told to whoever waits.
    pub(super) failed: Option<String>,
    /// Derived images of it, and how many of them are mapped.
    pub(super) derived: usize,
    pub(super) lent: usize,
}

/// What a client asks of new surfaces.
#[derive(Debug, Clone, Default)]
pub struct Wish {
    /// `VA_RT_FORMAT_*`.
    pub rt_format: u32,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// `VASurfaceAttribPixelFormat`.
    pub fourcc: Option<u32>,
    /// `VASurfaceAttribMemoryType`.
    pub memory: Option<u32>,
    /// One descriptor a surface, for memory of the client's.
    pub external: Vec<va::PrimeSurfaceDescriptor>,
    /// `VASurfaceAttribDRMFormatModifiers`.
    pub modifiers: Option<Vec<u64>>,
}

/// Rows of a plane in mapped memory.
pub(super) struct Rows {
    mapping: Mapping,
    offset: usize,
    pitch: usize,
}

impl Rows {
    pub(super) fn get(&self, row: usize, from: usize, bytes: usize) -> &[u8] {
        &self.mapping.bytes()[self.offset + row * self.pitch + from..][..bytes]
    }

    pub(super) fn get_mut(&mut self, row: usize, from: usize, bytes: usize) -> &mut [u8] {
        let at = self.offset + row * self.pitch + from;
        &mut self.mapping.bytes_mut()[at..][..bytes]
    }
}

impl Surface {
    /// Whether somebody is using it, and who.
    pub fn busy(&self) -> Option<String> {
        if let Some(context) = self.target_of {
            return Some(format!(
                "it is the target of an open picture of {context:#x}"
            ));
        }
        if let Some(job) = self.pending {
            let Job { context, number } = job;
            return Some(format!(
                "nobody has waited for picture {number} of context {context:#x}"
            ));
        }
        (self.lent > 0).then(|| "an image derived from it is mapped".to_owned())
    }

    pub(super) fn forget_context(&mut self, context: Id) {
        if self.target_of == Some(context) {
            self.target_of = None;
        }
        self.pending = self.pending.filter(|job| job.context != context);
    }

    pub(super) fn rows(&self, access: Access) -> Done<Vec<Rows>> {
        let map = |plane: &PlaneLayout| {
            let object = &self.objects[plane.object];
            let mapping = object.map(access).or_else(|error| {
                refuse(
                    status::OPERATION_FAILED,
                    format!("the memory of the surface cannot be mapped: {error}"),
                )
            })?;
            Ok(Rows {
                mapping,
                offset: plane.offset as usize,
                pitch: plane.pitch as usize,
            })
        };
        self.planes.iter().map(map).collect()
    }

    /// A part of it, `x` and `y` even where it has chroma.
    pub(super) fn read(&self, (x, y): (u32, u32), size: (u32, u32)) -> Done<Pixels> {
        let rows = self.rows(Access::Read)?;
        let mut planes = Vec::new();
        for (index, (bytes, count)) in self.format.planes(size.0, size.1).into_iter().enumerate() {
            let (left, top) = self.place(index, x, y);
            let mut plane = Vec::with_capacity((bytes * count) as usize);
            for row in 0..count {
                let row = rows[index].get((top + row) as usize, left as usize, bytes as usize);
                plane.extend_from_slice(row);
            }
            planes.push(plane);
        }
        Ok(Pixels {
            format: self.format,
            size,
            planes,
        })
    }

    /// Writes a picture at a place, even where it has chroma.
    pub(super) fn write(&self, (x, y): (u32, u32), pixels: &Pixels) -> Done {
        let mut rows = self.rows(Access::Write)?;
        let layout = self.format.planes(pixels.size.0, pixels.size.1);
        for (index, (bytes, count)) in layout.into_iter().enumerate() {
            let (left, top) = self.place(index, x, y);
            let from = pixels.planes[index].chunks_exact(bytes as usize);
            for (row, from) in (0..count).zip(from) {
                rows[index]
                    .get_mut((top + row) as usize, left as usize, bytes as usize)
                    .copy_from_slice(from);
            }
        }
        Ok(())
    }

    /// Bytes from the left and rows from the top of a pixel in a plane.
    fn place(&self, plane: usize, x: u32, y: u32) -> (u32, u32) {
        match (self.format.rgb, plane) {
            (Some(_), _) => (x * 4, y),
            (None, 0) => (x, y),
            (None, _) => (x, y / 2),
        }
    }
}

impl Driver {
    /// Makes `count` surfaces.
    pub fn create_surfaces(&mut self, wish: &Wish, count: usize) -> Done<Vec<Id>> {
        let format = wished_format(wish)?;
        let (width, height) = wish.size;
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return refuse(
                status::RESOLUTION_NOT_SUPPORTED,
                format!("a surface of {width}×{height} pixels"),
            );
        }
        if wish
            .modifiers
            .as_ref()
            .is_some_and(|list| !list.contains(&0))
        {
            return refuse(
                status::INVALID_VALUE,
                "none of the modifiers asked for is the linear one",
            );
        }
        self.surfaces.check_room(count)?;
        let imports = match wish.memory {
            None | Some(va::MEM_TYPE_VA) if wish.external.is_empty() => false,
            Some(va::MEM_TYPE_DRM_PRIME_2) => !wish.external.is_empty(),
            other => {
                return refuse(
                    status::UNSUPPORTED_MEMORY_TYPE,
                    format!(
                        "memory type {other:x?} with {} descriptors",
                        wish.external.len()
                    ),
                );
            }
        };
        if imports && wish.external.len() != count {
            return refuse(
                status::INVALID_PARAMETER,
                format!("{} descriptors for {count} surfaces", wish.external.len()),
            );
        }
        let mut made = Vec::new();
        for index in 0..count {
            made.push(match imports {
                true => import(format, wish.size, &wish.external[index])?,
                false => allocate(format, wish.size)?,
            });
        }
        // Only now are there numbers: a client never sees half of what it asked for.
        let mut ids = Vec::new();
        for surface in made {
            self.note_memory(&surface, imports);
            ids.push(self.surfaces.add(surface)?);
        }
        Ok(ids)
    }

    fn note_memory(&mut self, surface: &Surface, imported: bool) {
        let (width, height) = surface.size;
        let picture = format!(
            "fourcc={} size={width}x{height}",
            name(surface.format.fourcc)
        );
        for object in &surface.objects {
            let counts: &mut Counts = self.counters.of(object.identity);
            counts.roles.0 |= imported;
            counts.backing = object.backing.name();
            counts.picture.clone_from(&picture);
        }
        if imported {
            let object = &surface.objects[0];
            let (backing, inode) = (object.backing.name(), object.identity.inode);
            self.log
                .line(&format!("imported a {backing}, inode {inode}: {picture}"));
        }
    }

    pub(super) fn count(&mut self, surface: Id, what: Option<Use>) -> Done {
        for object in &self.surfaces.get(surface)?.objects {
            let counts = self.counters.of(object.identity);
            counts.mapped += 1;
            if let Some(what) = what {
                counts.uses[what as usize] += 1;
            }
        }
        Ok(())
    }

    /// Forgets surfaces, all of them or none.
    pub fn destroy_surfaces(&mut self, ids: &[Id]) -> Done {
        for id in ids {
            let surface = self.surfaces.get(*id)?;
            if let Some(busy) = surface.busy() {
                return refuse(
                    status::SURFACE_BUSY,
                    format!("surface {id:#x} is destroyed while in use: {busy}"),
                );
            }
            if surface.derived > 0 {
                return refuse(
                    status::SURFACE_BUSY,
                    format!("surface {id:#x} is destroyed before the image derived from it"),
                );
            }
        }
        for id in ids {
            self.surfaces.remove(*id)?;
        }
        Ok(())
    }

    /// Hands the memory of a surface out.
    pub fn export_surface(
        &mut self,
        id: Id,
        memory: u32,
        flags: u32,
    ) -> Done<va::PrimeSurfaceDescriptor> {
        if memory != va::MEM_TYPE_DRM_PRIME_2 {
            return refuse(
                status::UNSUPPORTED_MEMORY_TYPE,
                format!("export as memory type {memory:#x}"),
            );
        }
        let layers = va::EXPORT_SEPARATE_LAYERS | va::EXPORT_COMPOSED_LAYERS;
        let access = va::EXPORT_READ_ONLY | va::EXPORT_WRITE_ONLY;
        let chosen = (flags & layers).count_ones() == 1 && flags & access != 0;
        if !chosen || flags & !(layers | access) != 0 {
            return refuse(
                status::INVALID_PARAMETER,
                format!("export with flags {flags:#x}: one kind of layers, reading or writing"),
            );
        }
        let surface = self.surfaces.get(id)?;
        if let Some(busy) = surface.busy() {
            return refuse(
                status::SURFACE_BUSY,
                format!("surface {id:#x} is exported while in use: {busy}"),
            );
        }
        let descriptor = describe(surface, flags & va::EXPORT_SEPARATE_LAYERS != 0)?;
        let (backing, inode) = (
            surface.objects[0].backing.name(),
            surface.objects[0].identity.inode,
        );
        for object in &surface.objects {
            self.counters.of(object.identity).roles.1 = true;
        }
        self.log.line(&format!(
            "exported surface {id:#x} as a {backing}, inode {inode}"
        ));
        Ok(descriptor)
    }

    /// Waits for what is done with a surface, and says how it went.
    pub fn sync_surface(&mut self, id: Id) -> Done {
        let surface = self.surfaces.get_mut(id)?;
        if let Some(context) = surface.target_of {
            return refuse(
                status::SURFACE_BUSY,
                format!("waiting for surface {id:#x} before vaEndPicture of context {context:#x}"),
            );
        }
        let failed = surface.failed.take();
        if let Some(job) = surface.pending {
            self.finish(job);
        }
        match failed {
            None => Ok(()),
            Some(why) => refuse(status::DECODING_ERROR, why),
        }
    }

    /// A context works in order: what was before a job is done when it is.
    pub(super) fn finish(&mut self, job: Job) {
        for (_, surface) in self.surfaces.iter_mut() {
            let done = |other: &Job| other.context == job.context && other.number <= job.number;
            if surface.pending.as_ref().is_some_and(done) {
                surface.pending = None;
            }
        }
    }

    /// `VASurfaceStatus` of a surface. Asking is waiting: everything is done at once here.
    pub fn surface_status(&mut self, id: Id) -> Done<i32> {
        let surface = self.surfaces.get(id)?;
        if surface.target_of.is_some() {
            return Ok(surface_status::RENDERING);
        }
        if let Some(job) = surface.pending {
            self.finish(job);
        }
        Ok(surface_status::READY)
    }
}

fn wished_format(wish: &Wish) -> Done<Format> {
    let Some(by_rt) = Format::of_rt(wish.rt_format) else {
        return refuse(
            status::UNSUPPORTED_RT_FORMAT,
            format!("surfaces of render target format {:#x}", wish.rt_format),
        );
    };
    let Some(fourcc) = wish.fourcc else {
        return Ok(by_rt);
    };
    match Format::of(fourcc) {
        Some(format) if format.rt_format() == wish.rt_format => Ok(format),
        _ => refuse(
            status::ATTR_NOT_SUPPORTED,
            format!(
                "pixel format {} for render target format {:#x}",
                name(fourcc),
                wish.rt_format
            ),
        ),
    }
}

fn surface(
    format: Format,
    size: (u32, u32),
    objects: Vec<Object>,
    planes: Vec<PlaneLayout>,
) -> Surface {
    Surface {
        format,
        size,
        objects,
        planes,
        target_of: None,
        pending: None,
        failed: None,
        derived: 0,
        lent: 0,
    }
}

/// What new memory is full of: with hardware it may be what somebody has left there.
const LEFT_OVER: u8 = 0xa5;

fn allocate(format: Format, size: (u32, u32)) -> Done<Surface> {
    let (planes, bytes) = format.layout(size.0, size.1);
    let allocated = Object::allocate(bytes).and_then(|object| {
        object.map(Access::Write)?.bytes_mut().fill(LEFT_OVER);
        Ok(object)
    });
    match allocated {
        Ok(object) => Ok(surface(format, size, vec![object], planes)),
        Err(error) => refuse(
            status::ALLOCATION_FAILED,
            format!("no memory for a surface: {error}"),
        ),
    }
}

fn import(
    format: Format,
    size: (u32, u32),
    descriptor: &va::PrimeSurfaceDescriptor,
) -> Done<Surface> {
    let lie = |why: String| refuse(status::INVALID_PARAMETER, format!("import: {why}"));
    let d = descriptor;
    if d.fourcc != format.fourcc || (d.width, d.height) != size {
        return lie(format!(
            "the descriptor is of {} and {}×{} pixels, the surface of {} and {}×{}",
            name(d.fourcc),
            d.width,
            d.height,
            name(format.fourcc),
            size.0,
            size.1
        ));
    }
    let planes = imported_planes(format, descriptor)?;
    let count = d.num_objects as usize;
    if !(1..=planes.len()).contains(&count) {
        return lie(format!("{count} objects"));
    }
    let mut objects = Vec::new();
    for described in &d.objects[..count] {
        if described.drm_format_modifier != 0 {
            return refuse(
                status::INVALID_VALUE,
                format!(
                    "import: modifier {:#x}, and only the linear one is read",
                    described.drm_format_modifier
                ),
            );
        }
        let object = match Object::import(described.fd) {
            Ok(object) => object,
            Err(NotImported::Descriptor(error)) => {
                return lie(format!("descriptor {}: {error}", described.fd));
            }
            Err(NotImported::NoBuffer) => {
                return lie(format!("{} is no DMA-BUF and no memfd", described.fd));
            }
            Err(NotImported::Unsealed) => {
                return lie(format!(
                    "memfd {} is not sealed against shrinking",
                    described.fd
                ));
            }
        };
        if described.size == 0 || u64::from(described.size) > object.size {
            return lie(format!(
                "an object of {} bytes is called {} bytes large",
                object.size, described.size
            ));
        }
        objects.push(object);
    }
    check_planes(format, size, &planes, d)?;
    Ok(surface(format, size, objects, planes))
}

/// The planes of one layer, or of a layer each.
fn imported_planes(format: Format, d: &va::PrimeSurfaceDescriptor) -> Done<Vec<PlaneLayout>> {
    let plane = |layer: usize, plane: usize| PlaneLayout {
        object: d.layers[layer].object_index[plane] as usize,
        offset: d.layers[layer].offset[plane],
        pitch: d.layers[layer].pitch[plane],
    };
    let count = format.planes(2, 2).len();
    let layer = |index: usize| {
        (
            d.layers[index].drm_format,
            d.layers[index].num_planes as usize,
        )
    };
    let alone = match count {
        1 => vec![(format.drm, 1)],
        _ => vec![(format::DRM_R8, 1), (format::DRM_GR88, 1)],
    };
    let layers = d.num_layers as usize;
    if layers == 1 && layer(0) == (format.drm, count) {
        return Ok((0..count).map(|index| plane(0, index)).collect());
    }
    if layers == count && (0..count).all(|index| layer(index) == alone[index]) {
        return Ok((0..count).map(|index| plane(index, 0)).collect());
    }
    let named: Vec<_> = (0..layers.min(4)).map(layer).collect();
    let named: Vec<_> = named.iter().map(|(code, n)| (name(*code), n)).collect();
    refuse(
        status::INVALID_PARAMETER,
        format!(
            "import: layers {named:?} do not make {}",
            name(format.fourcc)
        ),
    )
}

fn check_planes(
    format: Format,
    size: (u32, u32),
    planes: &[PlaneLayout],
    d: &va::PrimeSurfaceDescriptor,
) -> Done {
    let lie = |why: String| refuse(status::INVALID_PARAMETER, format!("import: {why}"));
    let mut spans: Vec<(usize, u64, u64)> = Vec::new();
    for (plane, (bytes, rows)) in planes.iter().zip(format.planes(size.0, size.1)) {
        let &PlaneLayout {
            object,
            offset,
            pitch,
        } = plane;
        if object >= d.num_objects as usize {
            return lie(format!("a plane in object {object} of {}", d.num_objects));
        }
        if pitch < bytes || !pitch.is_multiple_of(PITCH_ALIGNMENT) {
            return lie(format!(
                "a pitch of {pitch} bytes, where rows have {bytes} and engines want multiples of {PITCH_ALIGNMENT}"
            ));
        }
        let start = u64::from(offset);
        let end = start + u64::from(pitch) * u64::from(rows - 1) + u64::from(bytes);
        let length = u64::from(d.objects[object].size);
        if end > length {
            return lie(format!(
                "a plane that ends at byte {end} in an object of {length} bytes"
            ));
        }
        let overlaps =
            |other: &(usize, u64, u64)| other.0 == object && start < other.2 && other.1 < end;
        if spans.iter().any(overlaps) {
            return lie("planes that overlap".to_owned());
        }
        spans.push((object, start, end));
    }
    Ok(())
}

fn describe(surface: &Surface, separate: bool) -> Done<va::PrimeSurfaceDescriptor> {
    let mut d: va::PrimeSurfaceDescriptor = crate::sys::plain::zeroed();
    d.fourcc = surface.format.fourcc;
    (d.width, d.height) = surface.size;
    let mut fds = Vec::new();
    for object in &surface.objects {
        match object.duplicate() {
            Ok(fd) => fds.push(fd),
            Err(error) => {
                return refuse(
                    status::OPERATION_FAILED,
                    format!("no descriptor for a client: {error}"),
                );
            }
        }
    }
    d.num_objects = fds.len() as u32;
    for ((described, object), fd) in d.objects.iter_mut().zip(&surface.objects).zip(fds) {
        described.fd = fd.into_raw_fd();
        described.size = u32::try_from(object.size).unwrap_or(u32::MAX);
    }
    let alone: &[u32] = match surface.format == NV12 {
        true => &[format::DRM_R8, format::DRM_GR88],
        false => &[surface.format.drm],
    };
    let separate = separate && surface.planes.len() > 1;
    d.num_layers = if separate { alone.len() as u32 } else { 1 };
    for (index, plane) in surface.planes.iter().enumerate() {
        let (layer, place) = if separate { (index, 0) } else { (0, index) };
        let described = &mut d.layers[layer];
        described.drm_format = if separate {
            alone[index]
        } else {
            surface.format.drm
        };
        described.num_planes = place as u32 + 1;
        described.object_index[place] = plane.object as u32;
        described.offset[place] = plane.offset;
        described.pitch[place] = plane.pitch;
    }
    Ok(d)
}
