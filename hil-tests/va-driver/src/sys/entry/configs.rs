//! Profiles, entry points and configurations.

use std::ffi::c_int;

use super::{enter, length, list, put, put_all};
use crate::driver::capabilities;
use crate::sys::backend::ContextPointer;
use crate::va::{self, Id, Status};

pub(super) unsafe extern "C" fn query_config_profiles(
    context: ContextPointer,
    profiles: *mut i32,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigProfiles", |_| {
        let offered = capabilities::OFFERED.iter().map(|(profile, _)| *profile);
        // SAFETY: see the head of the module above.
        unsafe { put_all(profiles, count, offered) }
    })
}

pub(super) unsafe extern "C" fn query_config_entrypoints(
    context: ContextPointer,
    profile: i32,
    entrypoints: *mut i32,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigEntrypoints", |driver| {
        let offered = capabilities::entrypoints(profile, driver.offers)?;
        let offered = offered.iter().copied();
        // SAFETY: see the head of the module above.
        unsafe { put_all(entrypoints, count, offered) }
    })
}

pub(super) unsafe extern "C" fn get_config_attributes(
    context: ContextPointer,
    profile: i32,
    entrypoint: i32,
    attributes: *mut va::ConfigAttrib,
    count: c_int,
) -> Status {
    enter(context, "vaGetConfigAttributes", |driver| {
        // SAFETY: see the head of the module above.
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

pub(super) unsafe extern "C" fn create_config(
    context: ContextPointer,
    profile: i32,
    entrypoint: i32,
    attributes: *mut va::ConfigAttrib,
    count: c_int,
    id: *mut Id,
) -> Status {
    enter(context, "vaCreateConfig", |driver| {
        // SAFETY: see the head of the module above.
        let attributes = unsafe { list(attributes, length(count))? };
        let config = driver.create_config(profile, entrypoint, attributes)?;
        // SAFETY: see the head of the module above.
        unsafe { put(id, config) }
    })
}

pub(super) unsafe extern "C" fn destroy_config(context: ContextPointer, id: Id) -> Status {
    enter(context, "vaDestroyConfig", |driver| {
        driver.destroy_config(id)
    })
}

pub(super) unsafe extern "C" fn query_config_attributes(
    context: ContextPointer,
    id: Id,
    profile: *mut i32,
    entrypoint: *mut i32,
    attributes: *mut va::ConfigAttrib,
    count: *mut c_int,
) -> Status {
    enter(context, "vaQueryConfigAttributes", |driver| {
        let config = driver.config(id)?;
        // SAFETY: see the head of the module above.
        unsafe {
            put(profile, config.profile)?;
            put(entrypoint, config.entrypoint)?;
            put_all(attributes, count, config.attributes().into_iter())
        }
    })
}
