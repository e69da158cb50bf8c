//! EGL and GLES: opened at run time, by smithay, whose constructors are unsafe.
//!
//! A context is one that says when its device was reset, where the driver has such: smithay makes none,
//! so it is made here and handed over.

use std::ffi::{CStr, c_void};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use smithay::backend::egl::ffi::egl::{self, types::EGLint};
use smithay::backend::egl::native::EGLNativeDisplay;
use smithay::backend::egl::{EGLContext, EGLDevice, EGLDisplay, fence::EGLFence, get_proc_address};
use smithay::backend::renderer::gles::{Capability, GlesRenderer, ffi};

/// What a display has to offer for a context that is lost with its device.
const ROBUST: [&str; 2] = [
    "EGL_EXT_create_context_robustness",
    "EGL_KHR_surfaceless_context",
];
/// `GL_OUT_OF_MEMORY`.
const OUT_OF_MEMORY: u32 = 0x0505;
/// `GL_CONTEXT_LOST`.
const CONTEXT_LOST: u32 = 0x0507;
/// Errors that are asked for at a time; a lost context may say the same for ever.
const MOST_ERRORS: usize = 8;

type ResetStatus = unsafe extern "system" fn() -> u32;

/// Whether there is a libEGL. Smithay takes that for granted, and panics where it is wrong.
pub fn check_egl() -> anyhow::Result<()> {
    // SAFETY: libEGL's constructors are those that smithay runs right after this; they have no
    // preconditions, and any thread may run them.
    let library = unsafe { libloading::Library::new("libEGL.so.1") };
    library.map(|_| ()).context("open libEGL")
}

/// Whether what this thread has asked of EGL last failed for want of memory. That is said once.
pub fn is_egl_memory_used_up() -> bool {
    // SAFETY: it takes the thread's own error, and any thread may ask. libEGL is open, or there would be no
    // `Drawing` to ask for: smithay opens it with the first display.
    let error = unsafe { egl::GetError() };
    error as u32 == egl::BAD_ALLOC
}

/// What has become of a context's device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Nothing.
    None,
    /// It was reset for what this context has done.
    Guilty,
    /// It was reset for what somebody else has done.
    Innocent,
    /// It was reset.
    Unknown,
}

impl Reset {
    /// What `glGetGraphicsResetStatus` has said.
    fn of_status(status: u32) -> Self {
        match status {
            0 => Self::None,
            0x8253 => Self::Guilty,
            0x8254 => Self::Innocent,
            _ => Self::Unknown,
        }
    }
}

/// A renderer on a device, and its context.
#[derive(Debug)]
pub struct GlesContext {
    renderer: GlesRenderer,
    // In this order: the context goes after what draws in it, and before its display.
    own: Option<Own>,
    _display: EGLDisplay,
    status: Option<ResetStatus>,
    longest: u32,
}

/// A context that smithay has not made, and does not destroy.
#[derive(Debug)]
struct Own {
    display: EGLDisplay,
    raw: *const c_void,
}

impl Drop for Own {
    fn drop(&mut self) {
        let display = **self.display.get_display_handle();
        // SAFETY: it was made on this display, which this holds, and nothing uses it after this. Whoever
        // drew in it has unbound it when it went, but where the device was lost: then it is still current
        // here, and is unbound before its display goes. No other thread has ever had it.
        unsafe {
            if egl::GetCurrentContext() == self.raw {
                let nothing = std::ptr::null();
                egl::MakeCurrent(display, nothing, nothing, nothing);
            }
            egl::DestroyContext(display, self.raw)
        };
    }
}

impl GlesContext {
    /// A context on a device. One that draws with the processor is none where `hardware` is wanted, nor is
    /// one that has no fences: nothing could be waited for with a limit.
    pub fn new<N: EGLNativeDisplay + 'static>(device: N, hardware: bool) -> anyhow::Result<Self> {
        // SAFETY: no other code of this process makes displays of EGL, so that none of them is ended
        // under this one; smithay keeps what it was made of for as long as the display lives.
        let display = unsafe { EGLDisplay::new(device) }.context("open a display of EGL")?;
        let device = EGLDevice::device_for_display(&display);
        ensure!(
            !hardware || !device.is_ok_and(|device| device.is_software()),
            "it is Mesa's software"
        );
        let (context, own) = match robust(&display) {
            Ok((context, own)) => (context, Some(own)),
            Err(why) => {
                tracing::info!("GLES does not say when its device was reset: {why:#}");
                let context = EGLContext::new(&display).context("make a context of EGL")?;
                (context, None)
            }
        };
        // SAFETY: the context is new and current nowhere. It stays on the thread that has made it, for
        // the renderer is not `Send`, and nothing else makes a context current there but for another
        // of these, each of which makes its own current before it is used.
        let renderer = unsafe { GlesRenderer::new(context) };
        let mut renderer = renderer.context("make a renderer of GLES")?;
        // Those of 3.0 read into buffers.
        let wanted = [Capability::Fencing, Capability::ExportFence];
        let has = renderer.capabilities();
        ensure!(
            wanted.iter().all(|one| has.contains(one)),
            "it lacks GLES 3.0 or fences"
        );
        let (longest, status) = renderer
            .with_context(|gl| (longest(gl), own.as_ref().and_then(|_| reset_status(gl))))
            .context("ask GLES for its limits")?;
        Ok(Self {
            renderer,
            own,
            _display: display,
            status,
            longest,
        })
    }

    /// Who draws.
    pub fn renderer(&mut self) -> &mut GlesRenderer {
        &mut self.renderer
    }

    /// The longest side of a texture: smithay would not hear of one that was not made.
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// Whether there is a texture of this name.
    #[cfg(test)]
    pub fn has_texture(&mut self, name: u32) -> bool {
        // SAFETY: the renderer has made its context current, and any number may be asked about.
        let asked = self
            .renderer
            .with_context(|gl| unsafe { gl.IsTexture(name) });
        asked.is_ok_and(|is_there| is_there == ffi::TRUE)
    }

    /// Whether it says when its device was reset.
    pub fn is_robust(&self) -> bool {
        self.own.is_some() && self.status.is_some()
    }

    /// Waits until the device has done all that it was given, but no longer than this. Returns whether it
    /// has.
    pub fn is_done_within(&mut self, limit: Duration) -> anyhow::Result<bool> {
        // A fence is one of the current context.
        let current = self.renderer.with_context(|_| ());
        current.context("use the context")?;
        let display = self.renderer.egl_context().display();
        let fence = EGLFence::create(display).context("make a fence")?;
        fence.client_wait(Some(limit), true).context("wait")
    }

    /// What has become of the device. An error where its memory is used up.
    pub fn reset(&mut self) -> anyhow::Result<Reset> {
        let status = self.status;
        let asked = self.renderer.with_context(|gl| {
            // SAFETY: the context is current, the function one that it has, and takes nothing.
            let said = status.map_or(0, |status| unsafe { status() });
            // SAFETY: the context is current, and this only takes errors out of it.
            let errors = (0..MOST_ERRORS).map(|_| unsafe { gl.GetError() });
            let errors: Vec<_> = errors.take_while(|error| *error != ffi::NO_ERROR).collect();
            (Reset::of_status(said), errors)
        });
        let Ok((reset, errors)) = asked else {
            // It cannot even be made current.
            return Ok(Reset::Unknown);
        };
        if reset == Reset::None && errors.contains(&CONTEXT_LOST) {
            return Ok(Reset::Unknown);
        }
        ensure!(
            !errors.contains(&OUT_OF_MEMORY),
            "the device's memory is used up"
        );
        Ok(reset)
    }
}

/// A context that is lost with its device instead of going on with rubbish.
fn robust(display: &EGLDisplay) -> anyhow::Result<(EGLContext, Own)> {
    let offers = |name: &&str| display.extensions().iter().any(|other| other == name);
    if let Some(missing) = ROBUST.iter().find(|name| !offers(name)) {
        anyhow::bail!("there is no {missing}");
    }
    let handle = display.get_display_handle();
    // Smithay wants to know of which kind its surfaces would be, of which there are none.
    let wanted = [
        egl::RENDERABLE_TYPE as EGLint,
        egl::OPENGL_ES3_BIT as EGLint,
        egl::SURFACE_TYPE as EGLint,
        0,
        egl::NONE as EGLint,
    ];
    let (mut config, mut count) = (std::ptr::null(), 0);
    // SAFETY: the display is open, the list ends with `EGL_NONE`, and there is room for the one
    // configuration and the number that are written.
    let chosen = unsafe {
        egl::ChooseConfig(
            **handle,
            wanted.as_ptr(),
            &raw mut config,
            1,
            &raw mut count,
        )
    };
    ensure!(
        chosen == egl::TRUE && count == 1 && !config.is_null(),
        "there is no configuration for GLES 3"
    );
    let attributes = [
        egl::CONTEXT_CLIENT_VERSION as EGLint,
        3,
        egl::CONTEXT_OPENGL_RESET_NOTIFICATION_STRATEGY_EXT as EGLint,
        egl::LOSE_CONTEXT_ON_RESET_EXT as EGLint,
        egl::NONE as EGLint,
    ];
    // SAFETY: the display is open, which has just named the configuration; the list ends with `EGL_NONE`,
    // and it shares with nobody. GLES is what smithay has bound on this thread when it opened the display.
    let raw = unsafe { egl::CreateContext(**handle, config, egl::NO_CONTEXT, attributes.as_ptr()) };
    ensure!(!raw.is_null(), "the driver makes no such context");
    let own = Own {
        display: display.clone(),
        raw,
    };
    // SAFETY: all three are of the libEGL that smithay has opened. Who is given the result keeps `own`
    // beside it, which has the display open and destroys the context after whoever draws in it.
    let context = unsafe { EGLContext::from_raw(**handle, config, raw) };
    Ok((context.context("take a context")?, own))
}

fn longest(gl: &ffi::Gles2) -> u32 {
    let mut longest = 0;
    // SAFETY: the renderer has made its context current, and GLES writes one number there.
    unsafe { gl.GetIntegerv(ffi::MAX_TEXTURE_SIZE, &raw mut longest) };
    u32::try_from(longest).unwrap_or(0)
}

/// Who says whether the device was reset.
fn reset_status(gl: &ffi::Gles2) -> Option<ResetStatus> {
    // SAFETY: the renderer has made its context current; what GLES returns is nothing, or text that lives
    // as long as the context.
    let extensions = unsafe {
        let said = gl.GetString(ffi::EXTENSIONS);
        (!said.is_null()).then(|| CStr::from_ptr(said.cast()))
    };
    let extensions = extensions?.to_string_lossy().into_owned();
    let has = |name: &str| extensions.split(' ').any(|other| other == name);
    // A library may name a function that the driver lacks.
    let name = match () {
        () if has("GL_KHR_robustness") => "glGetGraphicsResetStatusKHR",
        () if has("GL_EXT_robustness") => "glGetGraphicsResetStatusEXT",
        () => return None,
    };
    // SAFETY: the context is current.
    let address = unsafe { get_proc_address(name) };
    // SAFETY: the extension has this function with this signature; no address is `None`.
    unsafe { std::mem::transmute::<*const c_void, Option<ResetStatus>>(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_said_of_a_device_but_nothing_is_a_reset() {
        assert_eq!(Reset::of_status(0), Reset::None);
        assert_eq!(Reset::of_status(0x8253), Reset::Guilty);
        assert_eq!(Reset::of_status(0x8254), Reset::Innocent);
        for status in [0x8255, 1, CONTEXT_LOST, u32::MAX] {
            assert_eq!(Reset::of_status(status), Reset::Unknown);
        }
    }
}
