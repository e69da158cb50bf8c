//! EGL and GLES: opened at run time, by smithay, whose constructors are unsafe.

use anyhow::Context;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::GlesRenderer;

/// Whether there is a libEGL. Smithay takes that for granted, and panics where it is wrong.
pub fn check_egl() -> anyhow::Result<()> {
    // SAFETY: libEGL's constructors are those that smithay runs right after this; they have no
    // preconditions, and any thread may run them.
    let library = unsafe { libloading::Library::new("libEGL.so.1") };
    library.map(|_| ()).context("open libEGL")
}

/// A renderer on a device.
pub fn gles(device: EGLDevice) -> anyhow::Result<GlesRenderer> {
    // SAFETY: no other code of this process makes displays of EGL, so that none of them is ended
    // under this one.
    let display = unsafe { EGLDisplay::new(device) }.context("open a display of EGL")?;
    let context = EGLContext::new(&display).context("make a context of EGL")?;
    // SAFETY: the context is new and current nowhere. It stays on the compositor's thread, for the
    // renderer is not `Send`, and nothing else makes a context current there.
    unsafe { GlesRenderer::new(context) }.context("make a renderer of GLES")
}
