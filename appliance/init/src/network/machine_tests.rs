use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

fn interfaces(carriers: &[bool]) -> Interfaces {
    let interface = |(at, carrier): (usize, &bool)| {
        let index = at as u32 + 2;
        let mac = Mac([2, 0, 0, 0, 0, index as u8]);
        (
            index,
            Interface {
                index,
                name: format!("eth{at}"),
                mac,
                carrier: *carrier,
            },
        )
    };
    carriers.iter().enumerate().map(interface).collect()
}

fn lease(last: u8, brokers: &[&str]) -> Lease {
    Lease {
        address: Ipv4Addr::new(10, 77, 0, last),
        prefix: 24,
        routes: Vec::new(),
        name_servers: vec![Ipv4Addr::new(10, 77, 0, 1)],
        domain: Some("desk.example".into()),
        host_name: None,
        brokers: Ok(brokers.iter().map(|broker| (*broker).to_owned()).collect()),
        mtu: None,
        lasts: Duration::from_secs(3600),
    }
}

struct Rig {
    machine: Machine,
    now: Instant,
}

impl Rig {
    fn new(given: &[&str]) -> Rig {
        let now = Instant::now();
        let given = given.iter().map(|broker| (*broker).to_owned()).collect();
        Rig {
            machine: Machine::new(now, None, given),
            now,
        }
    }

    fn carriers(&mut self, carriers: &[bool]) -> Vec<Action> {
        self.machine
            .handle_interfaces(self.now, interfaces(carriers));
        self.machine.poll_actions()
    }

    fn leased(&mut self, lease: Lease) -> Vec<Action> {
        let index = self.machine.chosen.unwrap();
        self.machine.handle_lease(self.now, index, lease);
        self.machine.poll_actions()
    }

    fn pass(&mut self, time: Duration) -> Vec<Action> {
        self.now += time;
        self.machine.handle_timeout(self.now);
        self.machine.poll_actions()
    }

    fn headline(&self) -> (Stage, Option<Code>) {
        let report = self.machine.report(self.now);
        (report.stage, report.code)
    }
}

#[test]
fn the_command_line_names_the_broker_before_dhcp_and_dhcp_before_dns() {
    let mut rig = Rig::new(&["given:1"]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &["leased:2"]));
    assert_eq!(rig.machine.report(rig.now).brokers, ["given:1"]);

    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    let actions = rig.leased(lease(20, &["leased:2"]));
    assert_eq!(actions, [Action::Apply(2, lease(20, &["leased:2"]))]);
    assert_eq!(rig.machine.report(rig.now).brokers, ["leased:2"]);

    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    let actions = rig.leased(lease(20, &[]));
    assert_eq!(actions[1], Action::Search(lease(20, &[])));
    rig.machine
        .handle_search(rig.now, Ok(vec!["named:3".into()]));
    assert_eq!(rig.headline(), (Stage::Ready, None));
    assert_eq!(rig.machine.report(rig.now).brokers, ["named:3"]);
}

#[test]
fn each_fault_is_shown_after_its_patience_and_goes_with_its_cause() {
    let mut rig = Rig::new(&["b:1"]);
    assert_eq!(rig.headline(), (Stage::Cable, None));
    rig.pass(INTERFACE_PATIENCE);
    assert_eq!(rig.headline(), (Stage::Cable, Some(Code::NoInterface)));
    rig.carriers(&[false]);
    assert_eq!(rig.headline(), (Stage::Cable, None));
    rig.pass(CARRIER_PATIENCE);
    assert_eq!(rig.headline(), (Stage::Cable, Some(Code::NoCable)));
    rig.carriers(&[true]);
    assert_eq!(rig.headline(), (Stage::Dhcp, None));
    rig.pass(DHCP_PATIENCE);
    assert_eq!(rig.headline(), (Stage::Dhcp, Some(Code::NoDhcpAnswer)));
    rig.leased(lease(20, &[]));
    assert_eq!(rig.headline(), (Stage::Ready, None));
}

#[test]
fn a_cable_out_for_a_moment_keeps_the_address_and_asks_again() {
    let mut rig = Rig::new(&["b:1"]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &[]));
    assert_eq!(rig.carriers(&[false]), [Action::StopDhcp]);
    assert_eq!(rig.headline(), (Stage::Cable, Some(Code::NoCable)));
    let report = rig.machine.report(rig.now);
    assert_eq!(report.link.unwrap().ip.as_deref(), Some("10.77.0.20/24"));
    assert_eq!(report.brokers, ["b:1"]);
    let actions = rig.carriers(&[true]);
    assert!(matches!(&actions[..], [Action::StartDhcp(interface)] if interface.index == 2));
    assert_eq!(rig.headline(), (Stage::Ready, None));
    let actions = rig.leased(lease(21, &[]));
    assert_eq!(actions[0], Action::Remove(2, lease(20, &[])));
    assert_eq!(actions[1], Action::Apply(2, lease(21, &[])));
}

#[test]
fn a_lease_that_runs_out_is_taken_back() {
    let mut rig = Rig::new(&["b:1"]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &[]));
    assert_eq!(
        rig.pass(Duration::from_secs(3600)),
        [Action::Remove(2, lease(20, &[]))]
    );
    assert_eq!(rig.headline(), (Stage::Dhcp, Some(Code::LeaseLost)));
    rig.leased(lease(20, &[]));
    assert_eq!(rig.headline(), (Stage::Ready, None));
}

#[test]
fn the_cable_in_another_socket_moves_the_terminal() {
    let mut rig = Rig::new(&["b:1"]);
    rig.carriers(&[true, false]);
    rig.leased(lease(20, &[]));
    let actions = rig.carriers(&[false, true]);
    assert_eq!(
        actions[..2],
        [Action::StopDhcp, Action::Remove(2, lease(20, &[]))]
    );
    assert!(matches!(&actions[2], Action::StartDhcp(interface) if interface.index == 3));
}

#[test]
fn a_search_in_vain_is_shown_and_repeated_with_growing_pauses() {
    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &[]));
    let mut pause = SEARCH_PAUSE;
    for _ in 0..8 {
        rig.machine
            .handle_search(rig.now, Err("no such name".into()));
        assert_eq!(rig.headline(), (Stage::Broker, Some(Code::NoBroker)));
        assert!(rig.pass(pause - Duration::from_millis(1)).is_empty());
        assert_eq!(
            rig.pass(Duration::from_millis(1)),
            [Action::Search(lease(20, &[]))]
        );
        pause = (pause * 2).min(MAX_SEARCH_PAUSE);
    }
}

#[test]
fn a_bad_broker_option_is_named_when_nothing_else_helps() {
    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    let mut bad = lease(20, &[]);
    bad.brokers = crate::names::parse_brokers("not a broker");
    rig.leased(bad);
    rig.machine
        .handle_search(rig.now, Err("no such name".into()));
    assert!(rig.machine.report(rig.now).text.contains("option 224"));
}

#[test]
fn a_renewal_of_the_same_lease_disturbs_nothing() {
    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &[]));
    rig.machine
        .handle_search(rig.now, Ok(vec!["named:3".into()]));
    rig.pass(Duration::from_secs(1800));
    assert_eq!(
        rig.leased(lease(20, &[])),
        [Action::Apply(2, lease(20, &[]))]
    );
    assert_eq!(rig.headline(), (Stage::Ready, None));
    assert!(rig.pass(Duration::from_secs(1801)).is_empty());
}

#[test]
fn looking_again_is_heard_now_and_then_only() {
    let mut rig = Rig::new(&[]);
    rig.carriers(&[true]);
    rig.leased(lease(20, &[]));
    rig.machine
        .handle_search(rig.now, Ok(vec!["named:3".into()]));
    rig.machine.handle_look_again(rig.now);
    assert_eq!(rig.machine.poll_actions(), [Action::Search(lease(20, &[]))]);
    rig.machine
        .handle_search(rig.now, Ok(vec!["named:4".into()]));
    rig.machine.handle_look_again(rig.now);
    assert!(rig.machine.poll_actions().is_empty());
    rig.now += LOOK_AGAIN_PAUSE;
    rig.machine.handle_look_again(rig.now);
    assert_eq!(rig.machine.poll_actions().len(), 1);
}

#[derive(Debug, Clone)]
enum Op {
    Carriers(Vec<bool>),
    Leased(u8, bool),
    Found(bool),
    LookAgain,
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        proptest::collection::vec(any::<bool>(), 0..3).prop_map(Op::Carriers),
        (20u8..23, any::<bool>()).prop_map(|(last, brokers)| Op::Leased(last, brokers)),
        any::<bool>().prop_map(Op::Found),
        Just(Op::LookAgain),
        (0u64..5000).prop_map(Op::Pass),
    ]
}

proptest! {
    /// Whatever happens in whatever order: what is applied is what is reported, nothing is left
    /// behind on an interface that is no longer used, and a ready terminal has a broker.
    #[test]
    fn the_address_in_force_is_the_one_reported(ops in proptest::collection::vec(op(), 0..60)) {
        let mut rig = Rig::new(&[]);
        let mut applied: Vec<(u32, Lease)> = Vec::new();
        let mut asking = None;
        for op in ops {
            match op {
                Op::Carriers(carriers) => rig.machine.handle_interfaces(rig.now, interfaces(&carriers)),
                // DHCP answers only while it is asked.
                Op::Leased(last, brokers) if asking.is_some() => {
                    let lease = lease(last, if brokers { &["b:1"] } else { &[] });
                    rig.machine.handle_lease(rig.now, asking.unwrap_or(0), lease);
                }
                Op::Leased(..) => {}
                Op::Found(found) => {
                    let found = if found { Ok(vec!["b:2".into()]) } else { Err("none".into()) };
                    rig.machine.handle_search(rig.now, found);
                }
                Op::LookAgain => rig.machine.handle_look_again(rig.now),
                Op::Pass(seconds) => {
                    rig.now += Duration::from_secs(seconds);
                    rig.machine.handle_timeout(rig.now);
                }
            }
            for action in rig.machine.poll_actions() {
                match action {
                    Action::StartDhcp(interface) => asking = Some(interface.index),
                    Action::StopDhcp => asking = None,
                    Action::Apply(index, lease) => {
                        applied.retain(|(other, old)| (*other, old.address) != (index, lease.address));
                        applied.push((index, lease));
                    }
                    Action::Remove(index, lease) => {
                        applied.retain(|(other, old)| (*other, old.address) != (index, lease.address));
                    }
                    Action::Search(_) => {}
                }
            }
            let report = rig.machine.report(rig.now);
            prop_assert!(applied.len() <= 1);
            let in_force = applied.first().map(|(_, lease)| lease.cidr());
            prop_assert_eq!(report.link.as_ref().and_then(|link| link.ip.clone()), in_force);
            prop_assert!(report.stage != Stage::Ready || !report.brokers.is_empty());
            prop_assert_eq!(report.link.is_some_and(|link| link.carrier), asking.is_some());
            if let Some(due) = rig.machine.poll_timeout() {
                let bound = matches!(rig.machine.phase, Phase::Bound { .. });
                prop_assert!(due > rig.now || !bound);
            }
        }
    }
}
