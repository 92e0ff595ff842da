use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn topic(instances: usize) -> Topic {
    Topic::new(c"web".into(), instances, Nanos(0))
}

fn at(seconds: u64) -> Nanos {
    Nanos(0) + SECOND * seconds as u32
}

fn there(leaders: &[bool]) -> TopicSeen {
    TopicSeen { name: "web".into(), partitions: Ok(leaders.to_vec()) }
}

fn refused(code: i32) -> TopicSeen {
    TopicSeen { name: "web".into(), partitions: Err(code) }
}

#[test]
fn k05_a_missing_topic_is_named_once_a_minute_and_asked_about_again() {
    let mut topic = topic(1);
    assert_eq!(topic.open(), None);
    assert!(topic.is_due(0, at(0)));
    assert!(topic.seen(0, &refused(3), false, at(0)));
    let told_at = |topic: &Topic| topic.trouble.as_ref().unwrap().told_at;
    assert!(topic.status().trouble.unwrap().contains("does not exist"));
    let mut asked = 0;
    for second in 1..=59 {
        if topic.is_due(0, at(second)) {
            asked += 1;
            topic.seen(0, &refused(3), false, at(second));
            assert_eq!(told_at(&topic), at(0));
        }
    }
    assert_eq!(asked, 4, "after 2, 4, 8, 16 seconds, then 32");
    assert!(topic.is_due(0, at(70)));
    topic.seen(0, &refused(3), false, at(70));
    assert_eq!(told_at(&topic), at(70));
    assert!(!topic.seen(0, &there(&[true; 3]), false, at(71)));
    assert_eq!((topic.open(), topic.status().trouble), (Some(3), None));
}

#[test]
fn a_topic_that_may_be_created_is_no_trouble() {
    let mut topic = topic(1);
    assert!(topic.seen(0, &refused(3), true, at(0)));
    assert_eq!(topic.status().trouble, None);
}

#[test]
fn each_instance_must_know_the_partition_itself() {
    let mut topic = topic(2);
    topic.seen(0, &there(&[true; 4]), false, at(0));
    assert_eq!(topic.open(), Some(4));
    assert!(topic.known_to(0, 3) && !topic.known_to(1, 3));
    topic.seen(1, &there(&[true; 2]), false, at(0));
    assert!(topic.known_to(1, 1) && !topic.known_to(1, 3));
    topic.forget(0, at(1));
    assert!(!topic.known_to(0, 0));
    assert!(topic.is_due(0, at(1)));
}

#[test]
fn k07_what_is_lost_again_and_again_is_paused_for_longer_and_longer() {
    let mut topic = topic(1);
    let mut now = 0;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        topic.seen(0, &there(&[true]), false, at(now));
        assert_eq!(topic.open(), Some(1));
        for _ in 0..100 {
            topic.lost(0, 29, at(now));
        }
        assert_eq!(topic.open(), None);
        let begin = now;
        while !topic.resume(at(now)) {
            now += 1;
            topic.seen(0, &there(&[true]), false, at(now));
        }
        pauses.push(now - begin);
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 32, 32]);
    topic.arrived();
    assert_eq!(topic.status().trouble, None);
    topic.lost(0, 29, at(now));
    assert!(topic.resume(at(now + 1)));
}

#[test]
fn waiting_partitions_are_those_with_batches_and_no_progress() {
    let mut topic = topic(1);
    topic.seen(0, &there(&[true, false]), false, at(0));
    topic.sent(0, at(1));
    topic.sent(0, at(2));
    topic.sent(1, at(2));
    let waiting = |topic: &Topic, limit| topic.waiting(at(limit)).collect::<Vec<_>>();
    assert_eq!(waiting(&topic, 1), []);
    assert_eq!(waiting(&topic, 3), [(0, at(1), true), (1, at(2), false)]);
    topic.returned(0, at(5));
    assert_eq!(waiting(&topic, 5), [(1, at(2), false)]);
    assert_eq!(waiting(&topic, 6), [(0, at(5), true), (1, at(2), false)]);
    topic.returned(0, at(6));
    topic.returned(1, at(6));
    assert_eq!(waiting(&topic, 100), []);
}

#[test]
fn a_partition_that_is_not_there_is_looked_for_every_ten_seconds() {
    let mut topic = topic(1);
    topic.seen(0, &there(&[true]), false, at(0));
    for _ in 0..1000 {
        topic.no_partition(0, 7, at(1));
    }
    assert_eq!(topic.failures, 1);
    assert!(topic.status().trouble.unwrap().contains("no partition 7"));
    assert!(!topic.is_due(0, at(10)));
    assert!(topic.is_due(0, at(11)));
}
