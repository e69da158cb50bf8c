use heliostat_link::{Carrier, CloseCode, Ended, Link, LinkError, Main};

use crate::relay::Weather;
use crate::support::*;

over_both!(
    messages_arrive_whole_and_in_order_in_both_directions,
    each_end_knows_the_key_that_the_other_has_proven,
    a_receiver_that_is_cancelled_over_and_over_loses_nothing,
    last_words_are_delivered_before_the_link_closes,
    a_message_above_the_limit_is_refused_by_its_own_sender,
    a_peer_that_does_not_read_is_noticed_before_memory_grows,
    a_message_of_another_type_is_a_protocol_violation_that_closes_the_link,
);

async fn messages_arrive_whole_and_in_order_in_both_directions(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let ((_near, mut near), (_far, mut far)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let long = "x".repeat(300_000);
    for text in ["", "a", long.as_str(), "b"] {
        within(near.send(&text.to_owned())).await.unwrap();
        assert_eq!(within(far.recv()).await.unwrap(), text);
        within(far.send(&text.to_owned())).await.unwrap();
        assert_eq!(within(near.recv()).await.unwrap(), text);
    }
}

#[tokio::test]
async fn link_costs_few_bytes_before_it_is_used_and_carries_large_packets_then() {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let ((near, mut near_main), (far, mut far_main)) =
        within(connect_main(&server, address, &key)).await;
    // Each end has answered the other's probes of the way by the end of these.
    for _ in 0..40 {
        within(near_main.send(&"a".to_owned())).await.unwrap();
        within(far_main.recv()).await.unwrap();
        within(far_main.send(&"b".to_owned())).await.unwrap();
        within(near_main.recv()).await.unwrap();
    }
    let (small, answers) = (near.stats(), far.stats());
    let both = small.sent_bytes + answers.sent_bytes;
    assert!(both < 14_000, "{both} bytes");

    let before = far.stats();
    within(far_main.send(&"x".repeat(300_000))).await.unwrap();
    within(near_main.recv()).await.unwrap();
    let after = far.stats();
    let bytes = after.sent_bytes - before.sent_bytes;
    let packets = after.sent_datagrams - before.sent_datagrams;
    assert!(bytes / packets > 1300, "{bytes} bytes in {packets} packets");
}

async fn each_end_knows_the_key_that_the_other_has_proven(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let dialer = heliostat_link::Dialer::new(identity());
    let pins = [identity().pin(), key.pin()];
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let (near, far) = within(async {
            tokio::join!(
                dialer.dial_over(over, address, Link::Session, &pins),
                async { server.accept().await.unwrap().complete().await },
            )
        })
        .await;
        let (near, far) = (near.unwrap(), far.unwrap());
        assert_eq!(near.peer(), key.pin());
        assert_eq!(far.peer(), dialer.identity().pin());
        assert_eq!(near.exporter().unwrap(), far.exporter().unwrap());
        secrets.push(near.exporter().unwrap());
    }
    assert_ne!(
        secrets[0], secrets[1],
        "links of the same ends have secrets of their own"
    );
    assert_ne!(secrets[0], [0; 32]);
}

async fn a_receiver_that_is_cancelled_over_and_over_loses_nothing(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let weather = Weather {
        seed: 7,
        loss: 20,
        delay: (
            std::time::Duration::ZERO,
            std::time::Duration::from_millis(2),
        ),
        rate: None,
        queue: None,
    };
    let (address, _relay) = reach(&server, weather, over).await;
    let ((_near, near), (_far, mut far)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let (mut sender, _receiver) = near.split();
    let sending = tokio::spawn(async move {
        for n in 0..300 {
            sender
                .send(&format!("{n}:{}", "y".repeat(n * 13)))
                .await
                .unwrap();
        }
        sender
    });
    within(async {
        let mut received = 0;
        let mut cancelled = 0;
        while received < 300 {
            tokio::select! {
                biased;
                () = tokio::task::yield_now() => cancelled += 1,
                text = far.recv() => {
                    assert_eq!(text.unwrap(), format!("{received}:{}", "y".repeat(received * 13)));
                    received += 1;
                }
            }
            // Let the other tasks run, then wait for real half of the time.
            if cancelled % 2 == 0 && received < 300 {
                let text = far.recv().await.unwrap();
                assert_eq!(text, format!("{received}:{}", "y".repeat(received * 13)));
                received += 1;
            }
        }
        assert!(cancelled > 0);
    })
    .await;
    within(sending).await.unwrap();
}

async fn last_words_are_delivered_before_the_link_closes(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let weather = Weather {
        seed: 3,
        loss: 200,
        delay: Weather::FINE.delay,
        rate: None,
        queue: None,
    };
    let (address, _relay) = reach(&server, weather, over).await;
    let ((near, mut near_main), (far, far_main)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let (mut sender, _receiver) = far_main.split();
    sender.queue(&"bye".to_owned()).unwrap();
    let finished = tokio::spawn(async move {
        sender.finish().await.unwrap();
        far.close(CloseCode::Superseded, "newer");
    });
    assert_eq!(within(near_main.recv()).await.unwrap(), "bye");
    within(finished).await.unwrap();
    let ended = within(near.closed()).await;
    assert!(
        matches!(&ended, Ended::ByPeer { code: CloseCode::Superseded, text } if text == "newer")
            || ended == Ended::Silent,
        "{ended:?}"
    );
}

async fn a_message_above_the_limit_is_refused_by_its_own_sender(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let ((_near, mut near), (_far, mut far)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let error = within(near.send(&"x".repeat(400_000))).await.unwrap_err();
    assert!(matches!(error, LinkError::Wire(_)));
    within(near.send(&"still fine".to_owned())).await.unwrap();
    assert_eq!(within(far.recv()).await.unwrap(), "still fine");
}

async fn a_peer_that_does_not_read_is_noticed_before_memory_grows(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let ((_near, near), (_far, _far_main)) =
        within(connect_main_over(over, &server, address, &key)).await;
    let (mut sender, _receiver) = near.split();
    let message = "x".repeat(300_000);
    let error = (0..100).find_map(|_| sender.queue(&message).err());
    assert!(matches!(error, Some(LinkError::Backlog(_))));
}

async fn a_message_of_another_type_is_a_protocol_violation_that_closes_the_link(over: Carrier) {
    let key = identity();
    let server = server(&key);
    let address = server.local_addr().unwrap();
    let (near, far) = within(connect_over(over, &server, address, &key)).await;
    // A list of numbers is no UTF-8 text.
    let first: Vec<u8> = vec![0xff; 9];
    let _near_main: Main<Vec<u8>, String> =
        within(near.open_main(Link::Session, &first)).await.unwrap();
    let mut far_main: Strings = within(far.accept_main(Link::Session)).await.unwrap();
    let error = within(far_main.recv()).await.unwrap_err();
    far.close_for(&error);
    let ended = within(near.closed()).await;
    assert!(matches!(
        ended,
        Ended::ByPeer {
            code: CloseCode::ProtocolViolation,
            ..
        }
    ));
}
