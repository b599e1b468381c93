package web

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

const (
	// listRate is how many locks a second each node is asked about, on
	// average, by the listings of a large set.
	listRate = 500
	// listPause is how long the pause after a listing is, in times of what it
	// took: SCAN walks all keys of the nodes, whatever they belong to. Listing
	// the locks takes 1/17 of the time, and each of the three listings of what
	// changes seldom 1/81: less than a tenth together.
	listPause = 16
	// slower is how many rounds pass between two looks at what changes
	// seldom: findings, and jobs that are done.
	slower = 5
)

// part is one kind of answer.
type part[T any] struct {
	value T
	err   error
	at    time.Time // when it was complete; zero: never
	due   time.Time // when the next is asked for
}

// entry is a lock, with what pages order and filter by. That is worked out once: a
// lock can have as many holders as lock.MaxLimit.
type entry struct {
	lock.Inspection
	mode  lock.Mode
	since time.Time
}

func entryOf(i lock.Inspection) entry { return entry{i, i.Mode(), i.Since()} }

func entriesOf(all []lock.Inspection) []entry {
	entries := make([]entry, len(all))
	for i := range all {
		entries[i] = entryOf(all[i])
	}
	return entries
}

// picture is the newest answers. It is not changed once it is published.
type picture struct {
	nodes       part[[]cluster.Report]
	locks       part[[]entry]
	checks      part[[]cluster.Finding]
	fences      part[[]cluster.Finding]
	jobs        part[[]lease.Outcome]
	checkpoints part[checkpoints]
	held        map[string]sighting // by key; nil: nothing was listed yet
	number      int                 // grows from picture to picture
}

// survey asks the nodes on behalf of all pages.
type survey struct {
	src     source
	every   time.Duration
	demand  *demand
	journal *journal

	mu      sync.Mutex
	now     picture
	changed chan struct{} // closed when now is replaced
}

func newSurvey(src source, every time.Duration) *survey {
	return &survey{src: src, every: every, demand: newDemand(), journal: newJournal(), changed: make(chan struct{})}
}

// start asks until ctx ends, as long as there is demand. wg counts the
// goroutines.
func (s *survey) start(ctx context.Context, wg *sync.WaitGroup) {
	for _, ask := range []func(context.Context) time.Duration{s.askNodes, s.askLocks, s.askChecks, s.askFences, s.askJobs, s.askCheckpoints} {
		wg.Go(func() {
			for s.demand.wait(ctx) {
				pause := time.NewTimer(ask(ctx))
				select {
				case <-pause.C:
				case <-ctx.Done():
					pause.Stop()
				}
			}
		})
	}
}

func (s *survey) askNodes(ctx context.Context) time.Duration {
	reports := s.src.Survey(ctx)
	s.publish(func(p *picture) {
		s.journal.nodes(p.nodes.value, reports, time.Now())
		p.nodes = answered(reports, nil, s.every)
	})
	return s.every
}

func (s *survey) askLocks(ctx context.Context) time.Duration {
	began := time.Now()
	locks, err := s.src.List(ctx, "")
	ended := time.Now()
	took := ended.Sub(began)
	voters := map[string]bool{} // by now: a restart during the listing counts
	for _, n := range s.src.Status() {
		voters[n.Node] = n.Votes
	}
	pause := s.pauseAfter(len(locks), took)
	entries := entriesOf(locks)
	s.publish(func(p *picture) {
		if err != nil {
			pause = max(pause, s.pauseAfter(len(p.locks.value), took)) // there may be as many as before
		} else {
			p.held = s.journal.locks(p.held, locks, began, ended, voters)
		}
		p.locks = answered(entries, err, pause)
	})
	return pause
}

func (s *survey) askChecks(ctx context.Context) time.Duration {
	found := s.src.Check(ctx)
	s.publish(func(p *picture) { p.checks = answered(found, nil, slower*s.every) })
	return slower * s.every
}

func (s *survey) askFences(ctx context.Context) time.Duration {
	began := time.Now()
	found := s.src.CheckFences(ctx)
	pause := slower * s.pauseAfter(0, time.Since(began))
	s.publish(func(p *picture) { p.fences = answered(found, nil, pause) })
	return pause
}

func (s *survey) askJobs(ctx context.Context) time.Duration {
	began := time.Now()
	jobs, err := s.src.Outcomes(ctx, "")
	pause := slower * s.pauseAfter(len(jobs), time.Since(began))
	s.publish(func(p *picture) { p.jobs = answered(jobs, err, pause) })
	return pause
}

// pauseAfter is the pause after a listing that took so long and found n keys.
func (s *survey) pauseAfter(n int, took time.Duration) time.Duration {
	return max(s.every, time.Duration(n)*time.Second/listRate, listPause*took)
}

func answered[T any](value T, err error, pause time.Duration) part[T] {
	now := time.Now()
	return part[T]{value, err, now, now.Add(pause)}
}

// remark has the open pages show what the journal got besides.
func (s *survey) remark() { s.publish(func(*picture) {}) }

// publish replaces the picture by a copy that change was applied to.
func (s *survey) publish(change func(*picture)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.now)
	s.now.number++
	close(s.changed)
	s.changed = make(chan struct{})
}

// latest is the newest picture, and a channel that is closed when there is a
// newer one.
func (s *survey) latest() (picture, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now, s.changed
}

// fresh is the newest picture. After a time without pages, it waits until ctx ends
// for newer answers of the parts that a page shows: due says when the next of each
// is asked for.
func (s *survey) fresh(ctx context.Context, due func(*picture) []time.Time) picture {
	s.demand.touch()
	for {
		p, changed := s.latest()
		before := time.Now().Add(-s.every)
		if !slices.ContainsFunc(due(&p), func(at time.Time) bool { return !at.After(before) }) {
			return p
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return p
		}
	}
}
