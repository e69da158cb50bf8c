//! The C ABI: every entry point looks its driver up, counts the call, and turns pointers into values.
//!
//! What all `SAFETY` notes here stand on is libva's contract with its caller, which libva hands on: a
//! pointer that is an input has the elements that the number beside it says, an output can be written,
//! and none of them is used by another thread during the call.

mod absent;
mod configs;
mod conversion;
mod images;
mod pictures;
mod surfaces;

use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::backend::{ContextPointer, VTable, VTableVpp};
use crate::driver::pictures::CONVERSION;
use crate::driver::{Driver, capabilities};
use crate::format;
use crate::h264::told::Offers;
use crate::journal::{FAULTS, Faults, HANGS, HAS, LACKS, Log, hang};
use crate::refusal::{Done, refuse};
use crate::va::{self, Status, status, status_name};

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

fn fill(table: &mut VTable) {
    table.terminate = Some(terminate);
    table.query_config_profiles = Some(configs::query_config_profiles);
    table.query_config_entrypoints = Some(configs::query_config_entrypoints);
    table.get_config_attributes = Some(configs::get_config_attributes);
    table.create_config = Some(configs::create_config);
    table.destroy_config = Some(configs::destroy_config);
    table.query_config_attributes = Some(configs::query_config_attributes);
    table.create_surfaces = Some(surfaces::create_surfaces);
    table.destroy_surfaces = Some(surfaces::destroy_surfaces);
    table.create_context = Some(pictures::create_context);
    table.destroy_context = Some(pictures::destroy_context);
    table.create_buffer = Some(pictures::create_buffer);
    table.buffer_set_num_elements = Some(pictures::buffer_set_num_elements);
    table.map_buffer = Some(pictures::map_buffer);
    table.unmap_buffer = Some(pictures::unmap_buffer);
    table.destroy_buffer = Some(pictures::destroy_buffer);
    table.begin_picture = Some(pictures::begin_picture);
    table.render_picture = Some(pictures::render_picture);
    table.end_picture = Some(pictures::end_picture);
    table.sync_surface = Some(surfaces::sync_surface);
    table.query_surface_status = Some(surfaces::query_surface_status);
    table.query_surface_error = Some(absent::query_surface_error);
    table.put_surface = Some(absent::put_surface);
    table.query_image_formats = Some(images::query_image_formats);
    table.create_image = Some(images::create_image);
    table.derive_image = Some(images::derive_image);
    table.destroy_image = Some(images::destroy_image);
    table.set_image_palette = Some(absent::set_image_palette);
    table.get_image = Some(images::get_image);
    table.put_image = Some(images::put_image);
    table.query_subpicture_formats = Some(absent::query_subpicture_formats);
    table.create_subpicture = Some(absent::create_subpicture);
    table.destroy_subpicture = Some(absent::destroy_subpicture);
    table.set_subpicture_image = Some(absent::set_subpicture_image);
    table.set_subpicture_chromakey = Some(absent::set_subpicture_chromakey);
    table.set_subpicture_global_alpha = Some(absent::set_subpicture_global_alpha);
    table.associate_subpicture = Some(absent::associate_subpicture);
    table.deassociate_subpicture = Some(absent::deassociate_subpicture);
    table.query_display_attributes = Some(absent::query_display_attributes);
    table.get_display_attributes = Some(absent::get_display_attributes);
    table.set_display_attributes = Some(absent::set_display_attributes);
    table.buffer_info = Some(pictures::buffer_info);
    table.create_surfaces2 = Some(surfaces::create_surfaces2);
    table.query_surface_attributes = Some(surfaces::query_surface_attributes);
    table.export_surface_handle = Some(surfaces::export_surface_handle);
    table.sync_surface2 = Some(surfaces::sync_surface2);
    table.sync_buffer = Some(pictures::sync_buffer);
    table.map_buffer2 = Some(pictures::map_buffer2);
}

fn fill_vpp(table: &mut VTableVpp) {
    table.version = 1;
    table.query_filters = Some(conversion::query_filters);
    table.query_filter_caps = Some(absent::query_filter_caps);
    table.query_pipeline_caps = Some(conversion::query_pipeline_caps);
}
