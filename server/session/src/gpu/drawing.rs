//! GLES of which every wait ends, and which ends with its device.
//!
//! ```text
//!             the device was reset
//!   drawing ─────────────────────────► lost: it is let go
//!      │      it has not done what it was given for [`PATIENCE`]
//!      └─────────────────────────────► hung: it is left behind with all that it holds
//! ```
//!
//! A driver that waits for its device as it is let go would wait for ever where that hangs, so what hangs is
//! never let go; that goes with the process. Whether the device is asked again says its [`Fate`](super::fate).

use std::time::Duration;

use anyhow::{Context, ensure};
use heliostat_compose::geometry::Rect;
use heliostat_wire::output::Size;
use smithay::backend::allocator::Fourcc;
use smithay::backend::egl::native::EGLNativeDisplay;
use smithay::backend::renderer::gles::{
    GlesError, GlesFrame, GlesRenderer, GlesTarget, GlesTexProgram,
};
use smithay::backend::renderer::{ExportMem, Frame, Renderer};
use smithay::utils::{Physical, Rectangle, Transform};

use crate::sys::{self, GlesContext, Reset};

/// How long a device has for what it is given at a time: seconds more than a picture takes, and less than
/// after which a person believes that the session is dead. Machines that run tests do a dozen at once, and
/// have no device but the processor.
pub const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 20 } else { 1 });

/// Coordinates in textures have to be finer than what GLES promises without being asked: layers that
/// are shown unscaled are to come out as they are.
const SHADER: &str = "#version 100
//_DEFINES_
#ifdef EXTERNAL
#extension GL_OES_EGL_image_external : require
#endif
precision highp float;
#ifdef EXTERNAL
uniform samplerExternalOES tex;
#else
uniform highp sampler2D tex;
#endif
uniform float alpha;
varying vec2 v_coords;
#ifdef DEBUG_FLAGS
uniform float tint;
#endif
void main() {
    vec4 pixel = texture2D(tex, v_coords);
#ifdef NO_ALPHA
    pixel.a = 1.0;
#endif
    gl_FragColor = pixel * alpha;
}
";

/// Why GLES is not used any more.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// The device does not answer.
    #[error("the device has not done what it was given for {} s", PATIENCE.as_secs())]
    Hung,
    /// The device was reset for what this session has given it, which would do the same again.
    #[error("the device was reset, for what was drawn here")]
    Guilty,
    /// The device was reset, for all that is known through no fault of this session.
    #[error("the device was reset, {0}")]
    Lost(&'static str),
    /// Something else failed.
    #[error("{0:#}")]
    Broken(#[from] anyhow::Error),
    /// Nothing has ended: this cannot be had now, and something else can, or this later.
    #[error("{0:#}")]
    Refused(anyhow::Error),
}

impl Ended {
    /// Whether the device is of no more use to anybody here.
    pub fn is_of_device(&self) -> bool {
        match self {
            Self::Hung | Self::Guilty | Self::Lost(_) => true,
            Self::Broken(_) | Self::Refused(_) => false,
        }
    }

    /// Whether what has ended so may be let go, where a device that is asked once more says that it
    /// `is_idle`.
    pub fn lets_go(&self, is_idle: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Hung => false,
            // A lost context waits for nothing.
            Self::Guilty | Self::Lost(_) => true,
            Self::Broken(_) | Self::Refused(_) => is_idle(),
        }
    }
}

/// What it means that the device has done its work or not, and was reset or not. Fences of a device that
/// was reset are done, or never will be.
fn judge(is_done: bool, reset: Reset) -> Result<(), Ended> {
    match (reset, is_done) {
        (Reset::None, true) => Ok(()),
        (Reset::None, false) => Err(Ended::Hung),
        (Reset::Guilty, _) => Err(Ended::Guilty),
        (Reset::Innocent, _) => Err(Ended::Lost("for what another program has drawn")),
        (Reset::Unknown, _) => Err(Ended::Lost("and does not say why")),
    }
}

/// The same, where something has failed before the device said that, or EGL had no memory for it.
fn explained(ended: Ended, is_full: bool, reset: anyhow::Result<Reset>) -> Ended {
    match (reset.map(|reset| judge(true, reset)), ended) {
        (Ok(Err(lost)), _) => lost,
        (Err(full), Ended::Broken(why)) => Ended::Refused(full.context(why)),
        (Ok(Ok(())), Ended::Broken(why)) if is_full => {
            Ended::Refused(why.context("EGL has no memory for it"))
        }
        (Ok(Ok(())) | Err(_), ended) => ended,
    }
}

/// A context, and how it draws textures.
#[derive(Debug)]
pub struct Drawing {
    program: GlesTexProgram,
    context: GlesContext,
    name: String,
    /// The longest side of a texture.
    longest: u32,
}

impl Drawing {
    /// On a device, which people know by this name. One of hardware, where that is wanted.
    pub fn new<N: EGLNativeDisplay + 'static>(
        device: N,
        hardware: bool,
        name: String,
    ) -> anyhow::Result<Self> {
        let mut context = GlesContext::new(device, hardware)?;
        let program = context
            .renderer()
            .compile_custom_texture_shader(SHADER, &[]);
        Ok(Self {
            program: program.context("compile a shader")?,
            longest: context.longest(),
            context,
            name,
        })
    }

    /// The device, for people.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest side of a texture.
    #[cfg(test)]
    pub fn longest(&self) -> u32 {
        self.longest
    }

    /// Whether it would be said that the device was reset.
    pub fn is_robust(&self) -> bool {
        self.context.is_robust()
    }

    /// Who draws.
    pub fn renderer(&mut self) -> &mut GlesRenderer {
        self.context.renderer()
    }

    /// Draws into a target of this size, and waits until that is done.
    pub fn draw(
        &mut self,
        target: &mut GlesTarget<'_>,
        size: smithay::utils::Size<i32, Physical>,
        draw: impl FnOnce(&mut GlesFrame<'_, '_>, &GlesTexProgram) -> Result<(), GlesError>,
    ) -> Result<(), Ended> {
        let frame = self
            .context
            .renderer()
            .render(target, size, Transform::Normal);
        let mut frame = frame.context("begin to draw")?;
        let drawn = draw(&mut frame, &self.program);
        // A frame that is dropped waits without a limit, so it ends here whatever has happened.
        let finished = frame.finish().map(drop);
        self.settle()?;
        drawn.and(finished).context("draw")?;
        Ok(())
    }

    /// Gives parts of a target, with their number, to `take`: rows without gaps, 0xAARRGGBB. `room` is
    /// memory that is used again.
    pub fn read(
        &mut self,
        target: &GlesTarget<'_>,
        parts: &[Rect],
        room: &mut Vec<u32>,
        mut take: impl FnMut(usize, &mut [u32]),
    ) -> Result<(), Ended> {
        let renderer = self.context.renderer();
        let copy = |rect: &Rect| {
            let region = Rectangle::new((rect.x, rect.y).into(), (rect.w, rect.h).into());
            renderer.copy_framebuffer(target, region, Fourcc::Abgr8888)
        };
        let copies: Result<Vec<_>, _> = parts.iter().map(copy).collect();
        // To map a copy is to wait for it, without a limit.
        self.settle()?;
        let copies = copies.context("read what was drawn")?;
        for (n, (copy, rect)) in copies.iter().zip(parts).enumerate() {
            let bytes = self.context.renderer().map_texture(copy);
            let bytes = bytes.context("read")?;
            room.clear();
            // In memory red comes first here, and blue in a layer.
            let pixels = bytes.chunks_exact(4).map(|pixel| {
                let [r, g, b, a] = [pixel[0], pixel[1], pixel[2], pixel[3]].map(u32::from);
                a << 24 | r << 16 | g << 8 | b
            });
            room.extend(pixels);
            if room.len() as i64 != rect.area() {
                return Err(anyhow::anyhow!("too little was read").into());
            }
            take(n, room);
        }
        Ok(())
    }

    /// Waits until the device has done all that it was given, and asks whether it was reset.
    pub fn settle(&mut self) -> Result<(), Ended> {
        let is_done = self.context.is_done_within(PATIENCE);
        // Of a device that was reset even waiting fails.
        let reset = self.context.reset().map_err(Ended::Refused)?;
        judge(is_done.as_ref().copied().unwrap_or(true), reset)?;
        is_done.map(|_| ()).map_err(Ended::from)
    }

    /// Why something has failed: of a device that was reset everything does, and where its memory is used up
    /// much. To be asked right after that.
    pub fn explain(&mut self, ended: Ended) -> Ended {
        // Whatever is asked of EGL next says something else.
        let is_full = sys::is_egl_memory_used_up();
        self.explain_by(ended, is_full)
    }

    /// The same of a buffer that nothing has been done with before. Mesa says of each one that its driver
    /// does not take that there is no memory for it: this one is better refused while its program listens.
    pub fn explain_new(&mut self, ended: Ended) -> Ended {
        self.explain_by(ended, false)
    }

    fn explain_by(&mut self, ended: Ended, is_full: bool) -> Ended {
        if ended.is_of_device() {
            return ended;
        }
        explained(ended, is_full, self.context.reset())
    }

    /// Whether this may be let go, now that it has ended.
    pub fn may_go(&mut self, ended: &Ended) -> bool {
        ended.lets_go(|| matches!(self.context.is_done_within(PATIENCE), Ok(true)))
    }

    /// Whether sides are no longer than textures may be.
    pub fn check(&self, Size { w, h }: Size) -> anyhow::Result<()> {
        ensure!(w.max(h) <= self.longest, "{w}×{h} pixels are too many");
        Ok(())
    }

    /// Whether the device holds a texture of this name.
    #[cfg(test)]
    pub fn has_texture(&mut self, name: u32) -> bool {
        self.context.has_texture(name)
    }

    /// As on a device with another limit.
    #[cfg(test)]
    pub fn limit(&mut self, longest: u32) {
        self.longest = longest;
    }
}

/// Lets go what has ended, or leaves it behind.
pub fn part_with<T>(mut holder: T, ended: &Ended, drawing: impl FnOnce(&mut T) -> &mut Drawing) {
    if drawing(&mut holder).may_go(ended) {
        drop(holder);
    } else {
        std::mem::forget(holder);
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use smithay::backend::egl::EGLDevice;
    use smithay::backend::renderer::gles::GlesRenderbuffer;
    use smithay::backend::renderer::{Bind, Offscreen};

    use super::*;
    use crate::tests::hardware::stage::Lack;

    #[test]
    fn device_that_was_reset_is_lost_whatever_its_fences_say() {
        assert!(judge(true, Reset::None).is_ok());
        assert!(matches!(judge(false, Reset::None), Err(Ended::Hung)));
        for reset in [Reset::Guilty, Reset::Innocent, Reset::Unknown] {
            for is_done in [false, true] {
                let ended = judge(is_done, reset);
                match reset {
                    Reset::Guilty => assert!(matches!(ended, Err(Ended::Guilty)), "{ended:?}"),
                    _ => assert!(matches!(ended, Err(Ended::Lost(_))), "{ended:?}"),
                }
            }
        }
    }

    #[test]
    fn what_fails_on_a_device_that_was_reset_is_its_fault_and_with_its_memory_used_up_nobodys() {
        let broken = || Ended::Broken(anyhow!("no texture"));
        let refused = || Ended::Refused(anyhow!("not this buffer"));
        assert!(matches!(
            explained(broken(), false, Ok(Reset::None)),
            Ended::Broken(_)
        ));
        for is_full in [false, true] {
            assert!(matches!(
                explained(refused(), is_full, Ok(Reset::None)),
                Ended::Refused(_)
            ));
            for failed in [broken(), refused()] {
                let lost = explained(failed, is_full, Ok(Reset::Innocent));
                assert!(lost.is_of_device(), "{lost:?}");
            }
        }
        let no_image = explained(broken(), true, Ok(Reset::None));
        assert!(matches!(no_image, Ended::Refused(_)), "{no_image:?}");
        let full = explained(broken(), false, Err(anyhow!("its memory is used up")));
        assert!(matches!(full, Ended::Refused(_)) && !full.is_of_device());
        let said = full.to_string();
        assert!(
            said.contains("no texture") && said.contains("used up"),
            "{said}"
        );
    }

    /// Some tenths of a second of work for Mesa's software.
    const SLOW: &str = "
precision highp float;
varying vec2 v_coords;
uniform vec2 size;
uniform float alpha;
#ifdef DEBUG_FLAGS
uniform float tint;
#endif
void main() {
    float sum = v_coords.x;
    for (int n = 0; n < 400; n++) { sum = sin(sum * 3.0 + v_coords.y); }
    gl_FragColor = vec4(sum, 0.0, alpha, 1.0);
}
";

    #[test]
    fn wait_for_a_device_that_is_busy_ends_in_time() {
        const SIDE: i32 = 1024;
        let open = || {
            crate::sys::check_egl()?;
            let device = EGLDevice::enumerate()?.next().context("no device")?;
            Drawing::new(device, false, "a device".to_owned())
        };
        let mut drawing = match open() {
            Ok(drawing) => drawing,
            Err(error) => return Lack::Part(format!("no GLES here: {error:#}")).skip(),
        };
        // With one core Mesa's software draws before it returns.
        if std::thread::available_parallelism().is_ok_and(|cores| cores.get() == 1) {
            return Lack::Part("a machine of one core".to_owned()).skip();
        }
        let renderer = drawing.renderer();
        let slow = renderer.compile_custom_pixel_shader(SLOW, &[]).unwrap();
        let size = (SIDE, SIDE);
        let mut buffer: GlesRenderbuffer = renderer
            .create_buffer(Fourcc::Abgr8888, size.into())
            .unwrap();
        let mut target = renderer.bind(&mut buffer).unwrap();
        let frame = renderer.render(&mut target, size.into(), Transform::Normal);
        let mut frame = frame.unwrap();
        let whole = Rectangle::from_size((SIDE, SIDE).into());
        frame
            .render_pixel_shader_to(
                &slow,
                Rectangle::from_size((f64::from(SIDE), f64::from(SIDE)).into()),
                whole,
                size.into(),
                None,
                1.0,
                &[],
            )
            .unwrap();
        let _ = frame.finish().unwrap();
        let context = &mut drawing.context;
        assert!(!context.is_done_within(Duration::from_millis(1)).unwrap());
        // A machine may be stopped for longer than one wait.
        let mut waits = (0..20).map(|_| context.is_done_within(Duration::from_secs(5)).unwrap());
        assert!(waits.any(|is_done| is_done));
        assert_eq!(context.reset().unwrap(), Reset::None);
    }

    #[test]
    fn what_hangs_is_never_let_go_and_never_asked_again() {
        assert!(!Ended::Hung.lets_go(|| unreachable!("it is asked")));
        assert!(Ended::Lost("").lets_go(|| unreachable!("it is asked")));
        for is_idle in [false, true] {
            assert_eq!(Ended::Broken(anyhow!("")).lets_go(|| is_idle), is_idle);
        }
        assert!(Ended::Hung.is_of_device() && Ended::Lost("").is_of_device());
        assert!(!Ended::Broken(anyhow!("")).is_of_device());
    }
}
