//! The focus, and what is chosen beside the login.

use heliostat_control::greetd::{Choices, Enrol};

use super::{Control, Effect, Login, Stage};

impl Login {
    pub(super) fn choices(&self) -> Choices {
        let chosen = |offered: &[String], at: usize| offered.get(at).cloned();
        Choices {
            enrol: self.enrol && self.context.enrol != Enrol::No,
            desktop: chosen(&self.context.desktops, self.desktop),
            layout: chosen(&self.context.layouts, self.layout),
        }
    }

    pub(super) fn choose(&mut self, by: isize) {
        let (at, count) = match self.focus {
            Control::Desktop => (&mut self.desktop, self.context.desktops.len()),
            _ => (&mut self.layout, self.context.layouts.len()),
        };
        if count == 0 {
            return;
        }
        *at = at.wrapping_add_signed(by + count as isize) % count;
        if self.focus == Control::Layout {
            self.effects.extend(self.layout_effect());
        }
    }

    pub(super) fn layout_effect(&self) -> Option<Effect> {
        let layout = self.context.layouts.get(self.layout)?;
        Some(Effect::Layout(layout.clone()))
    }

    /// What can have the focus now, in the order of Tab.
    pub fn controls(&self) -> Vec<Control> {
        let (field, over) = match &self.stage {
            Stage::Offline(_) | Stage::Welcome => return Vec::new(),
            Stage::Waiting => return vec![Control::Over],
            Stage::Name => (
                self.context.person.is_none().then_some(Control::Name),
                false,
            ),
            Stage::Asked { .. } => (Some(Control::Answer), true),
        };
        let secret = matches!(self.stage, Stage::Asked { secret: true, .. });
        let enrol = self.context.enrol != Enrol::No;
        let reveal = secret.then_some(Control::Reveal);
        let enrol = enrol.then_some(Control::Enrol);
        let desktop = (self.context.desktops.len() > 1).then_some(Control::Desktop);
        let layout = (self.context.layouts.len() > 1).then_some(Control::Layout);
        let over = over.then_some(Control::Over);
        let all = [
            field,
            reveal,
            enrol,
            desktop,
            layout,
            Some(Control::Go),
            over,
        ];
        all.into_iter().flatten().collect()
    }

    pub(super) fn step(&mut self, by: isize) {
        let controls = self.controls();
        if controls.is_empty() {
            return;
        }
        let at = controls.iter().position(|control| *control == self.focus);
        let next = match at {
            Some(at) => at.wrapping_add_signed(by + controls.len() as isize) % controls.len(),
            None => 0,
        };
        self.focus = controls[next];
    }

    pub(super) fn mend_focus(&mut self) {
        let controls = self.controls();
        if !controls.contains(&self.focus) {
            self.focus = controls.first().copied().unwrap_or(Control::Name);
        }
    }

    /// Gives a control the focus.
    pub fn set_focus(&mut self, control: Control) {
        if self.controls().contains(&control) {
            self.focus = control;
        }
    }
}
