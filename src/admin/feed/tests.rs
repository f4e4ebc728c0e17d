use std::time::Duration;

use futures_util::FutureExt;

use super::*;

fn notice(text: impl ToString) -> EventKind {
    EventKind::Notice { text: text.to_string() }
}

/// A feed of `count` events, numbered from 1.
fn feed(count: usize) -> Feed {
    let feed = Feed::starting_at(1);
    (1..=count).for_each(|number| feed.publish(notice(number)));
    feed
}

/// The numbers of all events that are to be had without waiting.
fn read(subscription: &mut Subscription) -> Vec<u64> {
    std::iter::from_fn(|| subscription.next().now_or_never())
        .map(|event| event.expect("nothing was missed").id)
        .collect()
}

#[test]
fn a_newcomer_hears_all_that_is_kept_and_then_the_rest() {
    let feed = feed(3);
    let mut subscription = feed.subscribe(None);
    feed.publish(notice("live"));
    assert_eq!(read(&mut subscription), [1, 2, 3, 4]);
    feed.publish(notice("later"));
    assert_eq!(read(&mut subscription), [5]);
}

#[test]
fn only_the_last_events_are_kept() {
    let feed = feed(KEPT + 10);
    let heard = read(&mut feed.subscribe(None));
    assert_eq!(heard, (11..=KEPT as u64 + 10).collect::<Vec<_>>());
}

#[rstest::rstest]
#[case::in_the_middle(Some(2), &[3, 4])]
#[case::all_heard(Some(4), &[])]
#[case::of_another_process(Some(99), &[1, 2, 3, 4])]
#[case::the_largest(Some(u64::MAX), &[1, 2, 3, 4])]
#[case::before_the_first(Some(0), &[1, 2, 3, 4])]
fn who_comes_back_hears_what_is_new(#[case] last: Option<u64>, #[case] expected: &[u64]) {
    assert_eq!(read(&mut feed(4).subscribe(last)), expected);
}

#[test]
fn who_comes_back_too_late_hears_what_is_kept() {
    let heard = read(&mut feed(KEPT + 10).subscribe(Some(3)));
    assert_eq!(heard.first(), Some(&11));
}

#[test]
fn numbers_of_a_later_process_are_higher_and_exact_in_javascript() {
    let before = Feed::new();
    before.publish(notice("before"));
    let last = before.ring().oldest();
    assert!(last > 1_700_000_000_000_000 && last < 1 << 53, "{last}");
    // A process takes longer than that to start.
    while Timestamp::now().as_microsecond() <= last.try_into().unwrap() {}
    assert!(Feed::new().ring().next > last);
}

#[test]
fn a_slow_reader_is_told_what_it_missed() {
    let feed = feed(1);
    let mut subscription = feed.subscribe(None);
    (0..KEPT + 4).for_each(|number| feed.publish(notice(number)));
    let lagged = subscription.next().now_or_never().unwrap();
    assert_eq!(lagged, Err(Lagged { missed: 5 }));
    assert_eq!(read(&mut subscription).first(), Some(&6));
}

#[tokio::test]
async fn a_waiting_reader_is_woken() {
    let feed = feed(0);
    let mut subscription = feed.subscribe(None);
    let reader = tokio::spawn(async move { subscription.next().await.unwrap().id });
    tokio::task::yield_now().await;
    feed.publish(notice("now"));
    let id = tokio::time::timeout(Duration::from_secs(20), reader).await.unwrap().unwrap();
    assert_eq!(id, 1);
}

#[test]
fn readers_are_counted() {
    let feed = feed(0);
    let count = feed.subscribers();
    let (first, second) = (feed.subscribe(None), feed.subscribe(None));
    assert_eq!(*count.borrow(), 2);
    drop(first);
    assert_eq!(*count.borrow(), 1);
    drop(second);
    assert_eq!(*count.borrow(), 0);
}

/// Publishers on several threads, and a reader that must see each event once and in order.
#[test]
fn replay_and_live_events_join_without_gap_or_double() {
    let feed = feed(0);
    let publishers: Vec<_> = (0..4)
        .map(|_| {
            let feed = feed.clone();
            std::thread::spawn(move || (0..50).for_each(|n| feed.publish(notice(n))))
        })
        .collect();
    let mut subscription = feed.subscribe(None);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let heard = runtime.block_on(async {
        let mut heard = Vec::new();
        while heard.len() < 200 {
            let next = tokio::time::timeout(Duration::from_secs(20), subscription.next());
            heard.push(next.await.expect("an event").expect("none missed").id);
        }
        heard
    });
    assert_eq!(heard, (1..=200).collect::<Vec<_>>());
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
}
