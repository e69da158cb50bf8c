//! EGL and GLES: opened at run time, by smithay, whose constructors are unsafe.

use anyhow::{Context, ensure};
use smithay::backend::egl::native::EGLNativeDisplay;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay};
use smithay::backend::renderer::gles::{GlesRenderer, ffi};

/// Whether there is a libEGL. Smithay takes that for granted, and panics where it is wrong.
pub fn check_egl() -> anyhow::Result<()> {
    // SAFETY: libEGL's constructors are those that smithay runs right after this; they have no
    // preconditions, and any thread may run them.
    let library = unsafe { libloading::Library::new("libEGL.so.1") };
    library.map(|_| ()).context("open libEGL")
}

/// A renderer on a device, and the longest side of a texture there. One that draws with the processor
/// is none where `hardware` is wanted.
pub fn gles<N: EGLNativeDisplay + 'static>(
    device: N,
    hardware: bool,
) -> anyhow::Result<(GlesRenderer, u32)> {
    // SAFETY: no other code of this process makes displays of EGL, so that none of them is ended
    // under this one; smithay keeps what it was made of for as long as the display lives.
    let display = unsafe { EGLDisplay::new(device) }.context("open a display of EGL")?;
    let device = EGLDevice::device_for_display(&display);
    ensure!(
        !hardware || !device.is_ok_and(|device| device.is_software()),
        "it is Mesa's software"
    );
    let context = EGLContext::new(&display).context("make a context of EGL")?;
    // SAFETY: the context is new and current nowhere. It stays on the compositor's thread, for the
    // renderer is not `Send`, and nothing else makes a context current there.
    let renderer = unsafe { GlesRenderer::new(context) };
    let mut renderer = renderer.context("make a renderer of GLES")?;
    let longest = renderer.with_context(|gl| {
        let mut longest = 0;
        // SAFETY: the renderer has made its context current, and GLES writes one number there.
        unsafe { gl.GetIntegerv(ffi::MAX_TEXTURE_SIZE, &raw mut longest) };
        longest
    });
    let longest = longest.context("ask GLES for its limits")?;
    Ok((renderer, u32::try_from(longest).unwrap_or(0)))
}
