//! Facts → phases. Pure: what PID 1 does and on what condition can be read, and tested, here.

use std::path::Path;

use crate::boot::facts::{Facts, Pcscd};
use crate::modules::Tier;
use crate::supervise::{ServiceId, ServiceSpec};

/// When a phase runs. Each runs once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once, in the order of the plan.
    Now,
    /// As soon as there is a display device.
    Display,
    /// When the client's first screen is shown or [`SETTLE_TIMEOUT`] is over: what costs time and
    /// is not needed for the first screen waits until here.
    Settled,
}

/// How long the first screen has the machine to itself.
pub const SETTLE_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(6);

/// Modules that no device asks for: DHCP needs raw packets before there is an address.
pub const EXTRA_MODULES: &[&str] = &["af_packet"];

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Writes a kernel setting below /proc/sys.
    Setting(&'static str, &'static str),
    /// Makes Ctrl-Alt-Del a signal to PID 1 in place of an immediate reset.
    CatchCtrlAltDel,
    /// Stops the kernel from drawing text on the screen.
    QuietScreen,
    /// Lets the kernel start this program when it wants a module itself.
    ProvideModprobe,
    /// Begins to load modules for devices; those beyond [`Action::OpenTier`] wait.
    LoadModules,
    /// Lets the modules of devices up to this tier through.
    OpenTier(Tier),
    /// Keeps a service running from now on.
    Start(ServiceSpec),
    /// Listens to the power button.
    WatchPowerButton,
}

/// Steps that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phase {
    /// Its name in the log.
    pub name: &'static str,
    /// Its condition.
    pub when: When,
    /// Its steps, in order.
    pub actions: Vec<Action>,
}

/// What to do on the machine that `facts` describe.
pub fn plan(facts: &Facts) -> Vec<Phase> {
    let phases = [
        phase("kernel settings", When::Now, settings(facts)),
        phase("devices", When::Now, devices(facts)),
        phase("network", When::Now, vec![Action::Start(network(facts))]),
        phase("client", When::Display, vec![Action::Start(client(facts))]),
        phase(
            "keyboards",
            When::Settled,
            vec![Action::OpenTier(Tier::Input)],
        ),
        phase(
            "device database",
            When::Settled,
            facts
                .udevd
                .iter()
                .map(|path| Action::Start(udevd(path)))
                .collect(),
        ),
        phase(
            "cards",
            When::Settled,
            facts
                .pcscd
                .iter()
                .map(|found| Action::Start(pcscd(found)))
                .collect(),
        ),
        phase(
            "shell",
            When::Settled,
            shell(facts).map(Action::Start).into_iter().collect(),
        ),
        phase(
            "other devices",
            When::Settled,
            vec![Action::WatchPowerButton, Action::OpenTier(Tier::Rest)],
        ),
    ];
    phases
        .into_iter()
        .filter(|phase| !phase.actions.is_empty())
        .collect()
}

fn phase(name: &'static str, when: When, actions: Vec<Action>) -> Phase {
    Phase {
        name,
        when,
        actions,
    }
}

fn settings(facts: &Facts) -> Vec<Action> {
    let mut actions = vec![
        Action::CatchCtrlAltDel,
        // Services log through /dev/kmsg; the kernel would otherwise drop what comes in bursts.
        Action::Setting("kernel/printk_devkmsg", "on"),
        // A terminal whose kernel fails starts anew by itself.
        Action::Setting("kernel/panic_on_oops", "1"),
        // A gigabit's worth of the milliseconds in which the client draws.
        Action::Setting("net/core/rmem_max", "2097152"),
    ];
    if !facts.cmdline.panic_given {
        actions.push(Action::Setting("kernel/panic", "10"));
    }
    actions
}

/// The text console is silenced first: it would draw a screen of its own as soon as it could.
fn devices(facts: &Facts) -> Vec<Action> {
    let load = [
        Action::ProvideModprobe,
        Action::LoadModules,
        Action::OpenTier(Tier::Network),
    ];
    let modules = facts.modules_dir.iter().flat_map(|_| load.clone());
    [Action::QuietScreen].into_iter().chain(modules).collect()
}

fn own(facts: &Facts, id: ServiceId, args: &[&str], flag: &str, oom_score_adj: i16) -> ServiceSpec {
    let level = if facts.cmdline.debug { "debug" } else { "info" };
    ServiceSpec {
        id,
        program: facts.exe.clone(),
        arg0: Some("heliostat-terminal".to_owned()),
        args: args.iter().map(|arg| (*arg).to_owned()).collect(),
        env: vec![("HELIOSTAT_LOG".to_owned(), level.to_owned())],
        channel_flag: Some(flag.to_owned()),
        tty: None,
        oom_score_adj,
    }
}

fn network(facts: &Facts) -> ServiceSpec {
    own(facts, ServiceId::Network, &["network"], "--report-fd", -500)
}

fn client(facts: &Facts) -> ServiceSpec {
    let mut args = vec!["client", "--backend", "kms"];
    if let Some(decoder) = &facts.cmdline.decoder {
        args.extend(["--decoder", decoder]);
    }
    own(facts, ServiceId::Client, &args, "--state-fd", 0)
}

fn udevd(path: &Path) -> ServiceSpec {
    ServiceSpec {
        id: ServiceId::Udevd,
        program: path.to_owned(),
        // One binary is both udevadm and udevd, and goes by its name.
        arg0: path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned()),
        args: Vec::new(),
        env: vec![(
            "NOTIFY_SOCKET".to_owned(),
            crate::udev::NOTIFY_SOCKET.to_owned(),
        )],
        channel_flag: None,
        tty: None,
        oom_score_adj: -500,
    }
}

fn pcscd(found: &Pcscd) -> ServiceSpec {
    let polkit = found.knows_disable_polkit.then_some("--disable-polkit");
    ServiceSpec {
        id: ServiceId::Pcscd,
        program: found.path.clone(),
        arg0: None,
        args: ["--foreground"]
            .into_iter()
            .chain(polkit)
            .map(str::to_owned)
            .collect(),
        env: Vec::new(),
        channel_flag: None,
        tty: None,
        oom_score_adj: -500,
    }
}

/// A root shell needs both: an image that has one, and a command line that asks for it.
fn shell(facts: &Facts) -> Option<ServiceSpec> {
    let tty = Path::new("/dev").join(facts.cmdline.shell.as_ref()?);
    Some(ServiceSpec {
        id: ServiceId::Shell,
        program: facts.shell.clone()?,
        arg0: Some("sh".to_owned()),
        args: vec!["-i".to_owned()],
        env: Vec::new(),
        channel_flag: None,
        tty: Some(tty),
        oom_score_adj: 0,
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::boot::facts::SiteKeys;
    use crate::cmdline::Cmdline;

    fn facts() -> Facts {
        Facts {
            cmdline: Cmdline::default(),
            site_keys: SiteKeys::None,
            modules_dir: Some(PathBuf::from("/lib/modules/6.12")),
            udevd: Some(PathBuf::from("/lib/systemd/systemd-udevd")),
            pcscd: Some(Pcscd {
                path: PathBuf::from("/usr/sbin/pcscd"),
                knows_disable_polkit: true,
            }),
            shell: None,
            exe: PathBuf::from("/proc/self/exe"),
            cpus: 2,
        }
    }

    fn names(phases: &[Phase], when: When) -> Vec<&str> {
        phases
            .iter()
            .filter(|phase| phase.when == when)
            .map(|phase| phase.name)
            .collect()
    }

    fn services(phases: &[Phase]) -> Vec<&ServiceSpec> {
        let actions = phases.iter().flat_map(|phase| &phase.actions);
        actions
            .filter_map(|action| {
                if let Action::Start(spec) = action {
                    Some(spec)
                } else {
                    None
                }
            })
            .collect()
    }

    #[test]
    fn the_first_screen_waits_for_nothing_but_a_display() {
        let plan = plan(&facts());
        assert_eq!(
            names(&plan, When::Now),
            ["kernel settings", "devices", "network"]
        );
        assert_eq!(names(&plan, When::Display), ["client"]);
        assert_eq!(
            names(&plan, When::Settled),
            ["keyboards", "device database", "cards", "other devices"]
        );
    }

    #[test]
    fn what_the_image_lacks_is_not_planned() {
        let bare = Facts {
            modules_dir: None,
            udevd: None,
            pcscd: None,
            ..facts()
        };
        let plan = plan(&bare);
        let ids: Vec<ServiceId> = services(&plan).iter().map(|spec| spec.id).collect();
        assert_eq!(ids, [ServiceId::Network, ServiceId::Client]);
        let loads = plan
            .iter()
            .any(|phase| phase.actions.contains(&Action::LoadModules));
        assert!(!loads);
    }

    #[test]
    fn pcscd_is_told_about_polkit_only_when_it_knows_the_option() {
        let told = plan(&facts());
        assert_eq!(
            services(&told)[3].args,
            ["--foreground", "--disable-polkit"]
        );
        let pcscd = Pcscd {
            path: PathBuf::from("/sbin/pcscd"),
            knows_disable_polkit: false,
        };
        let untold = plan(&Facts {
            pcscd: Some(pcscd),
            ..facts()
        });
        assert_eq!(services(&untold)[3].args, ["--foreground"]);
    }

    #[test]
    fn a_shell_needs_an_image_that_has_one_and_a_command_line_that_asks() {
        let has_shell = |facts: &Facts| {
            services(&plan(facts))
                .iter()
                .any(|spec| spec.id == ServiceId::Shell)
        };
        let image = Facts {
            shell: Some(PathBuf::from("/usr/bin/busybox")),
            ..facts()
        };
        let asked = Facts {
            cmdline: Cmdline::parse("heliostat.shell=ttyS1"),
            ..facts()
        };
        assert!(!has_shell(&image) && !has_shell(&asked));
        assert!(has_shell(&Facts {
            cmdline: asked.cmdline,
            ..image
        }));
    }

    #[test]
    fn the_client_is_this_program_and_is_given_the_state() {
        let plan = plan(&facts());
        let client = services(&plan)[1];
        assert_eq!(client.program, PathBuf::from("/proc/self/exe"));
        assert_eq!(client.args, ["client", "--backend", "kms"]);
        assert_eq!(client.channel_flag.as_deref(), Some("--state-fd"));
        let asked = Facts {
            cmdline: Cmdline::parse("heliostat.decoder=software"),
            ..facts()
        };
        let plan = super::plan(&asked);
        let args = &services(&plan)[1].args;
        assert_eq!(args[3..], ["--decoder", "software"]);
    }

    #[test]
    fn a_panic_setting_on_the_command_line_is_respected() {
        let has_panic = |plan: &[Phase]| {
            plan[0]
                .actions
                .contains(&Action::Setting("kernel/panic", "10"))
        };
        assert!(has_panic(&plan(&facts())));
        let given = Facts {
            cmdline: Cmdline::parse("panic=-1"),
            ..facts()
        };
        assert!(!has_panic(&plan(&given)));
    }
}
