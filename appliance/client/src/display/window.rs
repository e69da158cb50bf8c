//! A window on somebody's desktop, drawn by the CPU.

use std::num::NonZeroU32;
use std::path::Path;
use std::rc::Rc;

use anyhow::anyhow;
use heliostat_wire::List;
use heliostat_wire::id::OutputId;
use heliostat_wire::output::{Output, Outputs, Size};
use winit::window::Window as WinitWindow;

use super::{Caption, Paint, Shown};
use crate::clock::monotonic_ns;
use crate::compose::Target;
use crate::geometry::{Damage, Rect};

/// The one output of this back end.
const OUTPUT: OutputId = OutputId(0);

type Surface = softbuffer::Surface<Rc<WinitWindow>, Rc<WinitWindow>>;

/// The window and its picture.
pub struct Window {
    window: Rc<WinitWindow>,
    surface: Surface,
    size: Size,
    /// The whole picture: the window system's own buffers come and go.
    picture: Vec<u32>,
    shown: Vec<Shown>,
}

impl Window {
    /// Draws on a window.
    pub fn new(window: Rc<WinitWindow>) -> anyhow::Result<Self> {
        let context = softbuffer::Context::new(window.clone())
            .map_err(|error| anyhow!("draw on this desktop: {error}"))?;
        let surface = softbuffer::Surface::new(&context, window.clone())
            .map_err(|error| anyhow!("draw in a window: {error}"))?;
        let inner = window.inner_size();
        let size = Size {
            w: inner.width.max(1),
            h: inner.height.max(1),
        };
        let picture = vec![0; (size.w * size.h) as usize];
        Ok(Self {
            window,
            surface,
            size,
            picture,
            shown: Vec::new(),
        })
    }

    /// The window has another size.
    pub fn resize(&mut self, (w, h): (u32, u32)) {
        self.size = Size {
            w: w.clamp(1, 8192),
            h: h.clamp(1, 8192),
        };
        self.picture = vec![0; (self.size.w * self.size.h) as usize];
    }

    /// Its size.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The one output.
    pub fn outputs(&self) -> Outputs {
        List::truncated(vec![Output {
            id: OUTPUT,
            connector: "Window-1".into(),
            make: "Heliostat".into(),
            model: "Window".into(),
            size: self.size,
            refresh_mhz: 60_000,
            physical_mm: Size { w: 0, h: 0 },
            x: 0,
            y: 0,
        }])
    }

    /// Draws what is damaged and shows it.
    pub fn present(
        &mut self,
        damage: &Damage,
        caption: Caption,
        paint: &mut Paint<'_>,
    ) -> anyhow::Result<()> {
        let bounds = Rect::of_size(self.size.w, self.size.h);
        let stride = self.size.w as usize;
        for rect in damage.rects() {
            paint(
                *rect,
                &mut Target {
                    pixels: &mut self.picture,
                    stride,
                    bounds,
                },
            );
        }
        self.push_picture()?;
        self.shown.push(Shown {
            output: OUTPUT,
            caption,
            at_ns: monotonic_ns(),
        });
        Ok(())
    }

    /// Shows the picture again, as after the window was covered.
    pub fn push_picture(&mut self) -> anyhow::Result<()> {
        let failed = |error| anyhow!("draw in the window: {error}");
        let (w, h) = (NonZeroU32::new(self.size.w), NonZeroU32::new(self.size.h));
        let (Some(w), Some(h)) = (w, h) else {
            return Ok(());
        };
        self.surface.resize(w, h).map_err(failed)?;
        let mut buffer = self.surface.buffer_mut().map_err(failed)?;
        let count = buffer.len().min(self.picture.len());
        buffer[..count].copy_from_slice(&self.picture[..count]);
        self.window.pre_present_notify();
        buffer.present().map_err(failed)
    }

    /// Makes all pixels black.
    pub fn darken(&mut self) -> anyhow::Result<()> {
        self.picture.fill(0);
        self.push_picture()
    }

    /// Pictures shown since somebody has taken them out.
    pub fn shown(&mut self) -> &mut Vec<Shown> {
        &mut self.shown
    }

    /// Writes the picture to a PNG file.
    pub fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        let size = (self.size.w, self.size.h);
        super::png_file::write(path, &self.picture, self.size.w as usize, size)
    }
}
