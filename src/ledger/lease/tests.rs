use proptest::prelude::*;

use super::*;

/// A config that is changed by compare-and-set.
#[derive(Clone, Debug, Default)]
struct Store {
    version: u64,
    lease: Option<Lease>,
}

/// One process that wants to roll out.
#[derive(Clone, Debug)]
struct Process {
    me: Party,
    /// What it has read last, and when.
    read: Option<(Store, u64)>,
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Wanting(LeaseWait),
    /// Sure of its lease since then.
    Holder(u64),
    Dead,
}

#[derive(Clone, Debug)]
enum Event {
    Read,
    Write,
    Crash,
    Start,
    GiveBack,
}

fn process(id: &str) -> Process {
    let me = Party { id: id.to_owned(), ..Party::default() };
    Process { me, read: None, state: State::Wanting(LeaseWait::default()) }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}

/// A time of day; the engine's clock may have been set.
fn engine_time(now: u64, step_seconds: i64) -> Timestamp {
    Timestamp::from_millisecond(2_000_000_000_000 + i64::try_from(now).unwrap() + step_seconds * 1_000)
        .unwrap()
}

impl Process {
    fn may_begin(&self, now: u64) -> bool {
        matches!(self.state, State::Holder(sure) if now - sure < millis(SURE))
    }

    /// Decides on what it has read, and writes if nothing was written meanwhile.
    fn write(&mut self, store: &mut Store, engine: Timestamp) {
        let Some((seen, at)) = self.read.take() else { return };
        let put = |store: &mut Store, lease: Option<Lease>| {
            let is_current = store.version == seen.version;
            if is_current {
                *store = Store { version: store.version + 1, lease };
            }
            is_current
        };
        let held = Some(Lease { holder: self.me.clone(), claim: None });
        match &mut self.state {
            State::Dead => {}
            State::Holder(sure) => match holding(seen.lease.as_ref(), &self.me.id) {
                Holding::Undisputed => *sure = at,
                Holding::Asked => {
                    if put(store, held) {
                        *sure = at;
                    }
                }
                Holding::Lost => self.state = State::Wanting(LeaseWait::default()),
            },
            State::Wanting(waiting) => match waiting.step(seen.lease.as_ref(), false, &self.me.id, engine) {
                LeaseStep::Ours => self.state = State::Holder(at),
                LeaseStep::Take => {
                    if put(store, held) {
                        self.state = State::Holder(at);
                    }
                }
                LeaseStep::Ask(claim) => {
                    let mut lease = seen.lease.clone().unwrap();
                    lease.claim = Some(claim);
                    put(store, Some(lease));
                }
                LeaseStep::Wait => {}
            },
        }
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => Just(Event::Read),
        10 => Just(Event::Write),
        1 => Just(Event::Crash),
        2 => Just(Event::Start),
        1 => Just(Event::GiveBack),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_two_may_ever_begin_updates(
        events in prop::collection::vec((0..3_usize, event(), 0_u64..7_000), 1..120),
        clock_is_set in prop::option::of((0..100_usize, -4_000_i64..4_000)),
    ) {
        let (mut store, mut now, mut step) = (Store::default(), 0_u64, 0_i64);
        let mut processes = ["a", "b", "c"].map(process);
        let mut starts = 0;
        for (index, (who, event, wait)) in events.into_iter().enumerate() {
            now += wait;
            if let Some((at, seconds)) = clock_is_set && at == index {
                step = seconds;
            }
            let one = &mut processes[who];
            match event {
                Event::Read if !matches!(one.state, State::Dead) => one.read = Some((store.clone(), now)),
                Event::Write => one.write(&mut store, engine_time(now, step)),
                Event::Crash => one.state = State::Dead,
                Event::Start if matches!(one.state, State::Dead) => {
                    starts += 1;
                    *one = process(&format!("{}{starts}", one.me.id));
                }
                Event::GiveBack if one.may_begin(now) => {
                    one.state = State::Wanting(LeaseWait::default());
                    one.read = None;
                    if store.lease.as_ref().is_some_and(|lease| lease.holder == one.me) {
                        store = Store { version: store.version + 1, lease: None };
                    }
                }
                _ => {}
            }
            let holders = processes.iter().filter(|one| one.may_begin(now)).count();
            prop_assert!(holders <= 1, "{holders} at {now}: {processes:#?}");
        }
    }

    #[test]
    fn a_dead_holder_is_replaced_within_a_minute_and_a_live_one_never(
        offset in 0_u64..3_000,
        death in prop::option::of(0_u64..200_000),
        clock_is_set in prop::option::of((0_u64..300_000, -4_000_i64..4_000)),
    ) {
        let (mut store, mut holder, mut other) = (Store::default(), process("a"), process("b"));
        let mut replaced = None;
        for tick in 0..3_000_u64 {
            let now = tick * 100;
            let step = clock_is_set.map_or(0, |(at, seconds)| if now >= at { seconds } else { 0 });
            if death.is_some_and(|death| now >= death) {
                holder.state = State::Dead;
            }
            for (one, phase) in [(&mut holder, 0), (&mut other, offset / 100 * 100 + 500)] {
                if now >= phase && (now - phase) % millis(LOOK_INTERVAL) == 0 && !matches!(one.state, State::Dead) {
                    one.read = Some((store.clone(), now));
                    one.write(&mut store, engine_time(now, step));
                }
            }
            if matches!(other.state, State::Holder(_)) {
                replaced.get_or_insert(now);
            }
        }
        match (death, replaced) {
            (None, replaced) => prop_assert_eq!(replaced, None),
            (Some(death), Some(replaced)) => prop_assert!(replaced >= death && replaced - death < 60_000, "{death} {replaced}"),
            (Some(death), None) => prop_assert!(death + 60_000 > 300_000, "{death}"),
        }
    }
}

#[test]
fn a_holder_that_the_swarm_knows_to_be_dead_is_replaced_at_once_and_a_free_lease_is_taken() {
    let lease = Lease { holder: process("a").me, claim: None };
    let now = engine_time(0, 0);
    assert_eq!(LeaseWait::default().step(Some(&lease), true, "b", now), LeaseStep::Take);
    assert_eq!(LeaseWait::default().step(None, false, "b", now), LeaseStep::Take);
    assert_eq!(LeaseWait::default().step(Some(&lease), false, "a", now), LeaseStep::Ours);
    let question = LeaseStep::Ask(Claim { by: "b".to_owned(), number: 1 });
    assert_eq!(LeaseWait::default().step(Some(&lease), false, "b", now), question);
}
