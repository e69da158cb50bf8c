//! The C ABI: every entry point looks its driver up, counts the call, and turns pointers into values.
//!
//! What all `SAFETY` notes here stand on is libva's contract with its caller, which libva hands on: a
//! pointer that is an input has the elements that the number beside it says, an output can be written,
//! and none of them is used by another thread during the call.

use std::ffi::{c_int, c_short, c_uint, c_ushort, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::backend::{ContextPointer, VTable, VTableVpp};
use super::plain::{rectangle, several};
use crate::driver::pictures::{CONVERSION, Client, Conversion};
use crate::driver::surfaces::Wish;
use crate::driver::{Driver, capabilities};
use crate::format::{self, MAX_SIDE};
use crate::h264::told::{Offers, Pointers};
use crate::journal::{FAULTS, Faults, HANGS, HAS, LACKS, Log, hang};
use crate::refusal::{Done, refuse};
use crate::va::{self, Id, Status, colour, status, status_name, surface_attrib};

/// The driver of a display, as libva keeps it.
type Held = Mutex<Driver>;

/// What a fault can be planned for: entry points, and what only some calls of theirs do.
const NAMES: [&str; 37] = [
    "vaInitialize",
    "vaTerminate",
    "vaQueryConfigProfiles",
    "vaQueryConfigEntrypoints",
    "vaGetConfigAttributes",
    "vaCreateConfig",
    "vaDestroyConfig",
    "vaQueryConfigAttributes",
    "vaCreateSurfaces",
    "vaDestroySurfaces",
    "vaCreateContext",
    "vaDestroyContext",
    "vaCreateBuffer",
    "vaBufferSetNumElements",
    "vaMapBuffer",
    "vaUnmapBuffer",
    "vaDestroyBuffer",
    "vaBeginPicture",
    "vaRenderPicture",
    "vaEndPicture",
    "vaSyncSurface",
    "vaQuerySurfaceStatus",
    "vaQueryImageFormats",
    "vaCreateImage",
    "vaDeriveImage",
    "vaDestroyImage",
    "vaGetImage",
    "vaPutImage",
    "vaBufferInfo",
    "vaCreateSurfaces2",
    "vaQuerySurfaceAttributes",
    "vaExportSurfaceHandle",
    "vaSyncSurface2",
    "vaSyncBuffer",
    "vaQueryVideoProcFilters",
    "vaQueryVideoProcPipelineCaps",
    CONVERSION,
];

/// Elements of any list that a client gives: more than there can be objects.
const MAX_LIST: usize = 16384;

/// Calls `work` with the driver of a display, once the call is counted, and logs a refusal.
fn enter(
    context: ContextPointer,
    name: &'static str,
    work: impl FnOnce(&mut Driver) -> Done,
) -> Status {
    enter_or(context, name, work, |_| ())
}

/// The same for a call that waits no longer than it is told.
fn enter_within(
    context: ContextPointer,
    name: &'static str,
    limit_ns: u64,
    work: impl FnOnce(&mut Driver) -> Done,
) -> Status {
    let answer = enter_once(context, name, work, |_| ());
    if answer == HANGS {
        std::thread::sleep(Duration::from_nanos(limit_ns));
    }
    answer
}

/// The same; `failed` is called after any refusal, be it one that was planned.
fn enter_or(
    context: ContextPointer,
    name: &'static str,
    work: impl FnOnce(&mut Driver) -> Done,
    failed: impl FnOnce(&mut Driver),
) -> Status {
    let answer = enter_once(context, name, work, failed);
    if answer == HANGS {
        hang();
    }
    answer
}

fn enter_once(
    context: ContextPointer,
    name: &'static str,
    work: impl FnOnce(&mut Driver) -> Done,
    failed: impl FnOnce(&mut Driver),
) -> Status {
    // SAFETY: libva calls with the context that it gave to the entry point of the driver.
    let data = unsafe { context.as_ref() }.map(|context| context.driver_data);
    // SAFETY: the data is null or what `initialize` put there, and lives until vaTerminate.
    let held = data.and_then(|data| unsafe { data.cast::<Held>().as_ref() });
    let Some(mut driver) = held.and_then(|held| held.lock().ok()) else {
        return status::OPERATION_FAILED;
    };
    let driver = &mut *driver;
    let worked = catch_unwind(AssertUnwindSafe(|| {
        driver.faults.count(name)?;
        work(driver)
    }));
    let worked = worked.unwrap_or_else(|_| {
        refuse(
            status::OPERATION_FAILED,
            "the driver panicked, which is a bug of its own",
        )
    });
    if let Err(error) = driver.counters.flush() {
        driver
            .log
            .line(&format!("the counters cannot be written: {error}"));
    }
    match worked {
        Ok(()) => status::SUCCESS,
        Err(refusal) => {
            let with = status_name(refusal.status);
            driver
                .log
                .line(&format!("refused {name} with {with}: {}", refusal.why));
            failed(driver);
            refusal.status
        }
    }
}

/// What a client gives as a list.
///
/// # Safety
///
/// As the head of this file says.
unsafe fn list<'a, T>(start: *const T, count: usize) -> Done<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    if start.is_null() || count > MAX_LIST {
        return refuse(
            status::INVALID_PARAMETER,
            format!("a list of {count}, or none where one is wanted"),
        );
    }
    // SAFETY: the caller's promise; libva's lists are aligned as C has them.
    Ok(unsafe { std::slice::from_raw_parts(start, count) })
}

/// Writes an output.
///
/// # Safety
///
/// As the head of this file says.
unsafe fn put<T>(at: *mut T, value: T) -> Done {
    if at.is_null() {
        return refuse(status::INVALID_PARAMETER, "nowhere to write the answer to");
    }
    // SAFETY: the caller's promise.
    unsafe { at.write(value) };
    Ok(())
}

/// Writes a list and its length. libva gives no room but promises the `max_…` of `initialize`.
///
/// # Safety
///
/// As the head of this file says.
unsafe fn put_all<T>(at: *mut T, count: *mut c_int, values: impl Iterator<Item = T>) -> Done {
    let mut written = 0;
    for value in values {
        // SAFETY: the caller's promise: there is room for as many as the driver said.
        unsafe { put(at.wrapping_add(written), value)? };
        written += 1;
    }
    // SAFETY: the caller's promise.
    unsafe { put(count, written as c_int) }
}

fn length(count: c_int) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

static INITIALIZATIONS: AtomicU32 = AtomicU32::new(0);

/// Where libva finds the driver.
#[allow(non_snake_case, reason = "libva asks for this name")]
#[unsafe(no_mangle)]
pub extern "C" fn __vaDriverInit_1_17(context: ContextPointer) -> Status {
    catch_unwind(|| initialize(context)).unwrap_or(status::OPERATION_FAILED)
}

fn initialize(context: ContextPointer) -> Status {
    let mut log = Log::from_environment();
    let plan = std::env::var(FAULTS).unwrap_or_default();
    let faults = match Faults::parse(&plan, &NAMES) {
        Ok(faults) => faults,
        Err(why) => {
            log.line(&format!("refused vaInitialize: {FAULTS}: {why}"));
            return status::INVALID_PARAMETER;
        }
    };
    let told = |variable| std::env::var(variable).unwrap_or_default();
    let offers = Offers::without(&told(LACKS)).map_err(|why| (LACKS, why));
    let with = |offers: Offers| offers.with(&told(HAS)).map_err(|why| (HAS, why));
    let offers = match offers.and_then(with) {
        Ok(offers) => offers,
        Err((variable, why)) => {
            log.line(&format!("refused vaInitialize: {variable}: {why}"));
            return status::INVALID_PARAMETER;
        }
    };
    let number = INITIALIZATIONS.fetch_add(1, Ordering::Relaxed) + 1;
    // Each display has its own faults, so the calls before this one are counted again.
    if let Ok(mut counted) = Faults::parse(&plan, &NAMES) {
        for at in 1..=number {
            if let Err(refusal) = counted.count("vaInitialize")
                && at == number
            {
                log.line(&format!("refused vaInitialize: {}", refusal.why));
                if refusal.status == HANGS {
                    hang();
                }
                return refusal.status;
            }
        }
    }
    // SAFETY: libva gives a context, and nobody else knows of it yet.
    let Some(context) = (unsafe { context.as_mut() }) else {
        return status::INVALID_CONTEXT;
    };
    context.version_major = 1;
    context.version_minor = va::MINOR;
    context.max_profiles = capabilities::OFFERED.len() as c_int;
    context.max_entrypoints = capabilities::MAX_ENTRYPOINTS;
    context.max_attributes = capabilities::MAX_ATTRIBUTES;
    context.max_image_formats = format::ALL.len() as c_int;
    // libva wants at least one, and is told that there are none when it asks.
    context.max_subpic_formats = 1;
    context.max_display_attributes = 1;
    context.str_vendor = c"Heliostat's VA driver in software, for tests".as_ptr();
    // SAFETY: libva has allocated both tables, and reads them after this call only.
    unsafe {
        if let Some(table) = context.vtable.as_mut() {
            fill(table);
        }
        if let Some(table) = context.vtable_vpp.as_mut() {
            fill_vpp(table);
        }
    }
    let driver = Box::new(Mutex::new(Driver::new(faults, offers, log)));
    context.driver_data = Box::into_raw(driver).cast();
    status::SUCCESS
}

unsafe extern "C" fn terminate(context: ContextPointer) -> Status {
    let status = enter(context, "vaTerminate", |driver| {
        driver.report_leaks();
        Ok(())
    });
    // SAFETY: libva's context; it calls nothing after this, whatever the answer is.
    if let Some(context) = unsafe { context.as_mut() }
        && !context.driver_data.is_null()
    {
        let data = std::mem::replace(&mut context.driver_data, std::ptr::null_mut());
        // SAFETY: `initialize` made it by `Box::into_raw`, and it has just been taken out.
        drop(unsafe { Box::from_raw(data.cast::<Held>()) });
    }
    status
}

unsafe extern "C" fn query_config_profiles(
    context: ContextPointer,
    profiles: *mut i32,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigProfiles", |_| {
        let offered = capabilities::OFFERED.iter().map(|(profile, _)| *profile);
        // SAFETY: see the head of this file.
        unsafe { put_all(profiles, count, offered) }
    })
}

unsafe extern "C" fn query_config_entrypoints(
    context: ContextPointer,
    profile: i32,
    entrypoints: *mut i32,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigEntrypoints", |driver| {
        let offered = capabilities::entrypoints(profile, driver.offers)?;
        let offered = offered.iter().copied();
        // SAFETY: see the head of this file.
        unsafe { put_all(entrypoints, count, offered) }
    })
}

unsafe extern "C" fn get_config_attributes(
    context: ContextPointer,
    profile: i32,
    entrypoint: i32,
    attributes: *mut va::ConfigAttrib,
    count: c_int,
) -> Status {
    enter(context, "vaGetConfigAttributes", |driver| {
        // SAFETY: see the head of this file.
        let wanted = unsafe { list(attributes, length(count))? };
        for index in 0..wanted.len() {
            let at = attributes.wrapping_add(index);
            // SAFETY: within the list that was just looked at, and aligned.
            let kind = unsafe { (*at).kind };
            let value = capabilities::attribute(profile, entrypoint, kind, driver.offers)?;
            // SAFETY: as above.
            unsafe { (*at).value = value };
        }
        Ok(())
    })
}

unsafe extern "C" fn create_config(
    context: ContextPointer,
    profile: i32,
    entrypoint: i32,
    attributes: *mut va::ConfigAttrib,
    count: c_int,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateConfig", |driver| {
        // SAFETY: see the head of this file.
        let attributes = unsafe { list(attributes, length(count))? };
        let config = driver.create_config(profile, entrypoint, attributes)?;
        // SAFETY: see the head of this file.
        unsafe { put(id, config) }
    })
}

unsafe extern "C" fn destroy_config(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyConfig", |driver| {
        driver.destroy_config(id)
    })
}

unsafe extern "C" fn query_config_attributes(
    context: ContextPointer,
    id: Id,
    profile: *mut i32,
    entrypoint: *mut i32,
    attributes: *mut va::ConfigAttrib,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigAttributes", |driver| {
        let config = driver.config(id)?;
        // SAFETY: see the head of this file.
        unsafe {
            put(profile, config.profile)?;
            put(entrypoint, config.entrypoint)?;
            put_all(attributes, count, config.attributes().into_iter())
        }
    })
}

unsafe extern "C" fn create_surfaces(
    context: ContextPointer,
    width: c_int,
    height: c_int,
    rt_format: c_int,
    count: c_int,
    ids: *mut Id,
) -> Status {
    enter(context, "vaCreateSurfaces", |driver| {
        let side = |side: c_int| u32::try_from(side).unwrap_or(0);
        let wish = Wish {
            rt_format: rt_format.cast_unsigned(),
            size: (side(width), side(height)),
            ..Wish::default()
        };
        // SAFETY: see the head of this file.
        unsafe { make_surfaces(driver, &wish, length(count), ids) }
    })
}

/// # Safety
///
/// As the head of this file says.
unsafe fn make_surfaces(driver: &mut Driver, wish: &Wish, count: usize, ids: *mut Id) -> Done {
    if count == 0 || ids.is_null() {
        return refuse(
            status::INVALID_PARAMETER,
            "no surfaces, or nowhere to write them to",
        );
    }
    for (index, id) in driver.create_surfaces(wish, count)?.into_iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe { put(ids.wrapping_add(index), id)? };
    }
    Ok(())
}

unsafe extern "C" fn create_surfaces2(
    context: ContextPointer,
    rt_format: c_uint,
    width: c_uint,
    height: c_uint,
    ids: *mut Id,
    count: c_uint,
    attributes: *mut va::SurfaceAttrib,
    attribute_count: c_uint,
) -> Status {
    enter(context, "vaCreateSurfaces2", |driver| {
        let mut wish = Wish {
            rt_format,
            size: (width, height),
            ..Wish::default()
        };
        // SAFETY: see the head of this file.
        let attributes = unsafe { list(attributes, attribute_count as usize)? };
        for attribute in attributes {
            // SAFETY: see the head of this file.
            unsafe { take_attribute(&mut wish, attribute, count as usize)? };
        }
        // SAFETY: see the head of this file.
        unsafe { make_surfaces(driver, &wish, count as usize, ids) }
    })
}

/// # Safety
///
/// As the head of this file says, for what the attribute points at.
unsafe fn take_attribute(wish: &mut Wish, attribute: &va::SurfaceAttrib, count: usize) -> Done {
    let va::GenericValue { kind, value } = attribute.value;
    let pointer = std::ptr::with_exposed_provenance::<c_void>(value as usize);
    let integer = value as u32;
    // FFmpeg's decoders leave the type of the value and the flags at 0, and real drivers do not look.
    let kind = match kind {
        0 => surface_attrib::TYPE_INTEGER,
        kind => kind,
    };
    match (attribute.kind, kind) {
        (surface_attrib::PIXEL_FORMAT, surface_attrib::TYPE_INTEGER) => {
            wish.fourcc = Some(integer);
        }
        (surface_attrib::MEMORY_TYPE, surface_attrib::TYPE_INTEGER) => {
            wish.memory = Some(integer);
        }
        (surface_attrib::USAGE_HINT, surface_attrib::TYPE_INTEGER) => {}
        (surface_attrib::EXTERNAL_BUFFER_DESCRIPTOR, surface_attrib::TYPE_POINTER) => {
            if pointer.is_null() {
                return Ok(());
            }
            // SAFETY: the caller's promise: one descriptor a surface.
            let all = unsafe { list(pointer.cast::<va::PrimeSurfaceDescriptor>(), count)? };
            wish.external = all.to_vec();
        }
        (surface_attrib::DRM_FORMAT_MODIFIERS, surface_attrib::TYPE_POINTER) => {
            // SAFETY: the caller's promise.
            let all = unsafe { list(pointer.cast::<va::DrmFormatModifierList>(), 1)? };
            // SAFETY: the caller's promise.
            let modifiers = unsafe { list(all[0].modifiers, all[0].num_modifiers as usize)? };
            wish.modifiers = Some(modifiers.to_vec());
        }
        (other, kind) => {
            return refuse(
                status::ATTR_NOT_SUPPORTED,
                format!("unknown surface attribute {other} with a value of type {kind}"),
            );
        }
    }
    Ok(())
}

unsafe extern "C" fn destroy_surfaces(
    context: ContextPointer,
    ids: *mut Id,
    count: c_int,
) -> Status {
    enter(context, "vaDestroySurfaces", |driver| {
        // SAFETY: see the head of this file.
        driver.destroy_surfaces(unsafe { list(ids, length(count))? })
    })
}

unsafe extern "C" fn create_context(
    context: ContextPointer,
    config: Id,
    width: c_int,
    height: c_int,
    _flag: c_int,
    targets: *mut Id,
    count: c_int,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateContext", |driver| {
        // SAFETY: see the head of this file.
        let targets = unsafe { list(targets, length(count))? };
        let made = driver.create_context(config, (width, height), targets)?;
        // SAFETY: see the head of this file.
        unsafe { put(id, made) }
    })
}

unsafe extern "C" fn destroy_context(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyContext", |driver| {
        driver.destroy_context(id)
    })
}

unsafe extern "C" fn create_buffer(
    context: ContextPointer,
    owner: Id,
    kind: i32,
    size: c_uint,
    count: c_uint,
    data: *mut c_void,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateBuffer", |driver| {
        let bytes = Driver::bytes_of_new_buffer(size, count);
        // SAFETY: libva's contract: the data, if any, has as many bytes as the buffer; they are only
        // copied.
        let data = (!data.is_null())
            .then(|| unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) });
        let made = driver.create_buffer(owner, kind, (size as usize, count as usize), data)?;
        // SAFETY: see the head of this file.
        unsafe { put(id, made) }
    })
}

unsafe extern "C" fn buffer_set_num_elements(
    context: ContextPointer,
    id: Id,
    count: c_uint,
) -> Status {
    enter(context, "vaBufferSetNumElements", |driver| {
        driver.set_elements(id, count as usize)
    })
}

unsafe extern "C" fn map_buffer(
    context: ContextPointer,
    id: Id,
    pointer: *mut *mut c_void,
) -> Status {
    enter(context, "vaMapBuffer", |driver| {
        let mapped = driver.map_buffer(id)?;
        // SAFETY: see the head of this file.
        unsafe { put(pointer, mapped) }
    })
}

unsafe extern "C" fn map_buffer2(
    context: ContextPointer,
    id: Id,
    pointer: *mut *mut c_void,
    _flags: u32,
) -> Status {
    // SAFETY: the same contract.
    unsafe { map_buffer(context, id, pointer) }
}

unsafe extern "C" fn unmap_buffer(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaUnmapBuffer", |driver| driver.unmap_buffer(id))
}

unsafe extern "C" fn destroy_buffer(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyBuffer", |driver| {
        driver.destroy_buffer(id)
    })
}

unsafe extern "C" fn begin_picture(context: ContextPointer, id: Id, target: Id) -> Status {
    enter(context, "vaBeginPicture", |driver| {
        driver.begin_picture(id, target)
    })
}

unsafe extern "C" fn render_picture(
    context: ContextPointer,
    id: Id,
    buffers: *mut Id,
    count: c_int,
) -> Status {
    enter(context, "vaRenderPicture", |driver| {
        // SAFETY: see the head of this file.
        for buffer in unsafe { list(buffers, length(count))? } {
            driver.render_buffer(id, *buffer, &Memory)?;
        }
        Ok(())
    })
}

/// The memory of whoever calls: parameters are the client's, whose pointers are null or good.
struct Memory;

impl Pointers for Memory {
    fn rectangles(&self, at: *const va::Rectangle, count: usize) -> Option<Vec<va::Rectangle>> {
        // SAFETY: see above.
        unsafe { several(at, count) }
    }

    fn regions(&self, at: *const va::EncRoi, count: usize) -> Option<Vec<va::EncRoi>> {
        // SAFETY: see above.
        unsafe { several(at, count) }
    }
}

impl Client for Memory {
    fn conversion(&self, parameters: va::ProcPipelineParameter) -> Conversion {
        Conversion {
            parameters,
            // SAFETY: see above.
            from: unsafe { rectangle(parameters.surface_region) },
            // SAFETY: see above.
            into: unsafe { rectangle(parameters.output_region) },
        }
    }
}

unsafe extern "C" fn end_picture(context: ContextPointer, id: Id) -> Status {
    let end = |driver: &mut Driver| driver.end_picture(id);
    enter_or(context, "vaEndPicture", end, |driver| {
        driver.abandon_picture(id);
    })
}

unsafe extern "C" fn sync_surface(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaSyncSurface", |driver| driver.sync_surface(id))
}

unsafe extern "C" fn sync_surface2(context: ContextPointer, id: Id, timeout_ns: u64) -> Status {
    let sync = |driver: &mut Driver| driver.sync_surface(id);
    enter_within(context, "vaSyncSurface2", timeout_ns, sync)
}

unsafe extern "C" fn sync_buffer(context: ContextPointer, id: Id, timeout_ns: u64) -> Status {
    let sync = |driver: &mut Driver| driver.sync_buffer(id);
    enter_within(context, "vaSyncBuffer", timeout_ns, sync)
}

unsafe extern "C" fn query_surface_status(
    context: ContextPointer,
    id: Id,
    answer: *mut i32,
) -> Status {
    enter(context, "vaQuerySurfaceStatus", |driver| {
        let status = driver.surface_status(id)?;
        // SAFETY: see the head of this file.
        unsafe { put(answer, status) }
    })
}

unsafe extern "C" fn query_image_formats(
    context: ContextPointer,
    formats: *mut va::ImageFormat,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryImageFormats", |_| {
        let all = format::ALL.iter().map(|format| format.image_format());
        // SAFETY: see the head of this file.
        unsafe { put_all(formats, count, all) }
    })
}

unsafe extern "C" fn create_image(
    context: ContextPointer,
    format: *mut va::ImageFormat,
    width: c_int,
    height: c_int,
    image: *mut va::Image,
) -> Status {
    enter(context, "vaCreateImage", |driver| {
        // SAFETY: see the head of this file.
        let format = unsafe { list(format, 1)? };
        let made = driver.create_image(format[0].fourcc, width, height)?;
        // SAFETY: see the head of this file.
        unsafe { put(image, made) }
    })
}

unsafe extern "C" fn derive_image(
    context: ContextPointer,
    surface: Id,
    image: *mut va::Image,
) -> Status {
    enter(context, "vaDeriveImage", |driver| {
        let made = driver.derive_image(surface)?;
        // SAFETY: see the head of this file.
        unsafe { put(image, made) }
    })
}

unsafe extern "C" fn destroy_image(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyImage", |driver| driver.destroy_image(id))
}

unsafe extern "C" fn get_image(
    context: ContextPointer,
    surface: Id,
    x: c_int,
    y: c_int,
    width: c_uint,
    height: c_uint,
    image: Id,
) -> Status {
    enter(context, "vaGetImage", |driver| {
        driver.get_image(surface, (x, y), (width, height), image)
    })
}

unsafe extern "C" fn put_image(
    context: ContextPointer,
    surface: Id,
    image: Id,
    from_x: c_int,
    from_y: c_int,
    from_width: c_uint,
    from_height: c_uint,
    to_x: c_int,
    to_y: c_int,
    to_width: c_uint,
    to_height: c_uint,
) -> Status {
    enter(context, "vaPutImage", |driver| {
        let from = ((from_x, from_y), (from_width, from_height));
        let to = ((to_x, to_y), (to_width, to_height));
        driver.put_image(surface, image, from, to)
    })
}

unsafe extern "C" fn buffer_info(
    context: ContextPointer,
    id: Id,
    kind: *mut i32,
    size: *mut c_uint,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaBufferInfo", |driver| {
        let info = driver.buffer_info(id)?;
        // SAFETY: see the head of this file.
        unsafe {
            put(kind, info.0)?;
            put(size, info.1 as c_uint)?;
            put(count, info.2 as c_uint)
        }
    })
}

unsafe extern "C" fn query_surface_attributes(
    context: ContextPointer,
    config: Id,
    attributes: *mut va::SurfaceAttrib,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQuerySurfaceAttributes", |driver| {
        let all = driver.config(config)?.surface_attributes();
        // SAFETY: see the head of this file.
        let room = unsafe { list(count.cast_const(), 1)? }[0] as usize;
        // SAFETY: see the head of this file.
        unsafe { put(count, all.len() as c_uint)? };
        if attributes.is_null() {
            return Ok(());
        }
        if room < all.len() {
            return refuse(
                status::MAX_NUM_EXCEEDED,
                format!("{} surface attributes, and room for {room}", all.len()),
            );
        }
        for (index, attribute) in all.into_iter().enumerate() {
            // SAFETY: there is room, as was just checked.
            unsafe { put(attributes.wrapping_add(index), attribute)? };
        }
        Ok(())
    })
}

unsafe extern "C" fn export_surface_handle(
    context: ContextPointer,
    id: Id,
    memory: u32,
    flags: u32,
    descriptor: *mut c_void,
) -> Status {
    enter(context, "vaExportSurfaceHandle", |driver| {
        if descriptor.is_null() {
            return refuse(
                status::INVALID_PARAMETER,
                "nowhere to write the descriptor to",
            );
        }
        let exported = driver.export_surface(id, memory, flags)?;
        // SAFETY: for this type of memory the client gives such a descriptor.
        unsafe { put(descriptor.cast::<va::PrimeSurfaceDescriptor>(), exported) }
    })
}

unsafe extern "C" fn query_filters(
    context: ContextPointer,
    _id: Id,
    _filters: *mut i32,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQueryVideoProcFilters", |_| {
        // SAFETY: see the head of this file.
        unsafe { put(count, 0) }
    })
}

static INPUT_STANDARDS: [i32; 4] = [
    colour::STANDARD_BT601,
    colour::STANDARD_BT709,
    colour::STANDARD_SRGB,
    colour::STANDARD_EXPLICIT,
];
static PIXEL_FORMATS: [u32; format::ALL.len()] = {
    let mut codes = [0; format::ALL.len()];
    let mut index = 0;
    while index < codes.len() {
        codes[index] = format::ALL[index].fourcc;
        index += 1;
    }
    codes
};

unsafe extern "C" fn query_pipeline_caps(
    context: ContextPointer,
    id: Id,
    _filters: *mut Id,
    filter_count: c_uint,
    caps: *mut va::ProcPipelineCaps,
) -> Status {
    enter(context, "vaQueryVideoProcPipelineCaps", |driver| {
        driver.check_converts(id)?;
        if filter_count != 0 {
            return refuse(status::UNSUPPORTED_FILTER, "filters are not offered");
        }
        let mut answer: va::ProcPipelineCaps = super::plain::zeroed();
        answer.filter_flags = va::FILTER_SCALING_MASK | va::FILTER_INTERPOLATION_MASK;
        answer.input_color_standards = INPUT_STANDARDS.as_ptr();
        answer.num_input_color_standards = INPUT_STANDARDS.len() as u32;
        answer.output_color_standards = INPUT_STANDARDS.as_ptr();
        answer.num_output_color_standards = INPUT_STANDARDS.len() as u32;
        answer.rotation_flags = 1;
        answer.input_pixel_format = PIXEL_FORMATS.as_ptr();
        answer.num_input_pixel_formats = PIXEL_FORMATS.len() as u32;
        answer.output_pixel_format = PIXEL_FORMATS.as_ptr();
        answer.num_output_pixel_formats = PIXEL_FORMATS.len() as u32;
        (answer.max_input_width, answer.max_input_height) = (MAX_SIDE, MAX_SIDE);
        (answer.min_input_width, answer.min_input_height) = (1, 1);
        (answer.max_output_width, answer.max_output_height) = (MAX_SIDE, MAX_SIDE);
        (answer.min_output_width, answer.min_output_height) = (1, 1);
        // SAFETY: see the head of this file.
        unsafe { put(caps, answer) }
    })
}

/// Entry points that libva wants and this driver does not have.
fn unimplemented(context: ContextPointer, name: &'static str) -> Status {
    enter(context, name, |_| {
        refuse(status::UNIMPLEMENTED, "it is not offered")
    })
}

macro_rules! unimplemented {
    ($($function:ident $name:literal ($($argument:ty),*);)*) => {
        $(
            unsafe extern "C" fn $function(context: ContextPointer $(, _: $argument)*) -> Status {
                unimplemented(context, $name)
            }
        )*
    };
}

unimplemented! {
    query_surface_error "vaQuerySurfaceError" (Id, Status, *mut *mut c_void);
    put_surface "vaPutSurface" (
        Id, *mut c_void, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort,
        c_ushort, *mut va::Rectangle, c_uint, c_uint
    );
    set_image_palette "vaSetImagePalette" (Id, *mut u8);
    create_subpicture "vaCreateSubpicture" (Id, *mut Id);
    destroy_subpicture "vaDestroySubpicture" (Id);
    set_subpicture_image "vaSetSubpictureImage" (Id, Id);
    set_subpicture_chromakey "vaSetSubpictureChromakey" (Id, c_uint, c_uint, c_uint);
    set_subpicture_global_alpha "vaSetSubpictureGlobalAlpha" (Id, f32);
    associate_subpicture "vaAssociateSubpicture" (
        Id, *mut Id, c_int, c_short, c_short, c_ushort, c_ushort, c_short, c_short, c_ushort,
        c_ushort, c_uint
    );
    deassociate_subpicture "vaDeassociateSubpicture" (Id, *mut Id, c_int);
    get_display_attributes "vaGetDisplayAttributes" (*mut c_void, c_int);
    set_display_attributes "vaSetDisplayAttributes" (*mut c_void, c_int);
    query_filter_caps "vaQueryVideoProcFilterCaps" (Id, i32, *mut c_void, *mut c_uint);
}

unsafe extern "C" fn query_subpicture_formats(
    context: ContextPointer,
    _formats: *mut va::ImageFormat,
    _flags: *mut c_uint,
    count: *mut c_uint,
) -> Status {
    enter(context, "vaQuerySubpictureFormats", |_| {
        // SAFETY: see the head of this file.
        unsafe { put(count, 0) }
    })
}

unsafe extern "C" fn query_display_attributes(
    context: ContextPointer,
    _attributes: *mut c_void,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryDisplayAttributes", |_| {
        // SAFETY: see the head of this file.
        unsafe { put(count, 0) }
    })
}

fn fill(table: &mut VTable) {
    table.terminate = Some(terminate);
    table.query_config_profiles = Some(query_config_profiles);
    table.query_config_entrypoints = Some(query_config_entrypoints);
    table.get_config_attributes = Some(get_config_attributes);
    table.create_config = Some(create_config);
    table.destroy_config = Some(destroy_config);
    table.query_config_attributes = Some(query_config_attributes);
    table.create_surfaces = Some(create_surfaces);
    table.destroy_surfaces = Some(destroy_surfaces);
    table.create_context = Some(create_context);
    table.destroy_context = Some(destroy_context);
    table.create_buffer = Some(create_buffer);
    table.buffer_set_num_elements = Some(buffer_set_num_elements);
    table.map_buffer = Some(map_buffer);
    table.unmap_buffer = Some(unmap_buffer);
    table.destroy_buffer = Some(destroy_buffer);
    table.begin_picture = Some(begin_picture);
    table.render_picture = Some(render_picture);
    table.end_picture = Some(end_picture);
    table.sync_surface = Some(sync_surface);
    table.query_surface_status = Some(query_surface_status);
    table.query_surface_error = Some(query_surface_error);
    table.put_surface = Some(put_surface);
    table.query_image_formats = Some(query_image_formats);
    table.create_image = Some(create_image);
    table.derive_image = Some(derive_image);
    table.destroy_image = Some(destroy_image);
    table.set_image_palette = Some(set_image_palette);
    table.get_image = Some(get_image);
    table.put_image = Some(put_image);
    table.query_subpicture_formats = Some(query_subpicture_formats);
    table.create_subpicture = Some(create_subpicture);
    table.destroy_subpicture = Some(destroy_subpicture);
    table.set_subpicture_image = Some(set_subpicture_image);
    table.set_subpicture_chromakey = Some(set_subpicture_chromakey);
    table.set_subpicture_global_alpha = Some(set_subpicture_global_alpha);
    table.associate_subpicture = Some(associate_subpicture);
    table.deassociate_subpicture = Some(deassociate_subpicture);
    table.query_display_attributes = Some(query_display_attributes);
    table.get_display_attributes = Some(get_display_attributes);
    table.set_display_attributes = Some(set_display_attributes);
    table.buffer_info = Some(buffer_info);
    table.create_surfaces2 = Some(create_surfaces2);
    table.query_surface_attributes = Some(query_surface_attributes);
    table.export_surface_handle = Some(export_surface_handle);
    table.sync_surface2 = Some(sync_surface2);
    table.sync_buffer = Some(sync_buffer);
    table.map_buffer2 = Some(map_buffer2);
}

fn fill_vpp(table: &mut VTableVpp) {
    table.version = 1;
    table.query_filters = Some(query_filters);
    table.query_filter_caps = Some(query_filter_caps);
    table.query_pipeline_caps = Some(query_pipeline_caps);
}
