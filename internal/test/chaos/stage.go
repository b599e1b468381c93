//go:build unix

package chaos

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// stage holds everything that faults affect.
type stage struct {
	nodes   Nodes
	memory  Memory // of the nodes
	network network
	crowd   *crowd
	spare   int                   // the server without a name, if there is one
	places  [NodeCount]int        // the server to which each name leads
	lines   map[int]*redis.Client // see tell
	spans   []span                // past faults
}

func newStage(nodes Nodes, memory Memory, w network, c *crowd) *stage {
	s := &stage{nodes: nodes, memory: memory, network: w, crowd: c, spare: NodeCount}
	for i := range s.places {
		s.places[i] = i
	}
	return s
}

// play lets the faults happen one after another until length has passed, or all of them if length is 0.
func (s *stage) play(faults []Fault, length time.Duration) error {
	end := time.Now().Add(length)
	for _, f := range faults {
		if length > 0 && time.Now().After(end) {
			break // the engine is slow
		}
		time.Sleep(f.after)
		if err := s.happen(f); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(end))
	return nil
}

// happen begins a fault, ends it after its time, and records it.
func (s *stage) happen(f Fault) error {
	sp := span{Name: f.String(), From: now(), Nodes: f.Nodes, Outage: f.outage}
	switch {
	case f.Kind == Crash && s.memory == NoMemory, slices.Contains([]Kind{Emptied, Filled, Choked, Torn, Follows, Moved}, f.Kind):
		sp.Forgets = f.Nodes
	}
	err := s.last(f)
	sp.To = now()
	s.spans = append(s.spans, sp)
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

func (s *stage) last(f Fault) error {
	if err := s.begin(f); err != nil {
		return err
	}
	if f.Kind == Kill || f.Kind == Stop {
		s.crowd.restarting.Lock()
		defer s.crowd.restarting.Unlock()
	}
	switch f.Kind {
	case Kill:
		if err := s.crowd.kill(f.Client); err != nil {
			return err
		}
		time.Sleep(f.Lasts)
		if f.Amid != nil {
			if err := s.happen(*f.Amid); err != nil {
				return err
			}
		}
		return s.crowd.spawn(f.Client)
	case Stop:
		resume, err := s.crowd.halt(f.Client)
		if err != nil {
			return err
		}
		time.Sleep(f.Lasts)
		return resume()
	case Crowded, Locked:
		s.network.each(f.Client, f.Nodes, (*link).snap)
	case Snap:
		for end := time.Now().Add(f.Lasts); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			s.network.each(f.Client, f.Nodes, (*link).snap)
		}
		return nil
	}
	if f.Amid != nil {
		time.Sleep(f.Lasts / 2)
		f.Lasts /= 2
		if err := s.happen(*f.Amid); err != nil {
			return err
		}
	}
	time.Sleep(f.Lasts)
	return s.fix(f)
}

func (s *stage) begin(f Fault) error {
	var errs []error
	for _, n := range f.Nodes {
		switch f.Kind {
		case Crash, Torn:
			errs = append(errs, s.nodes.Stop(n))
		case Freeze:
			errs = append(errs, s.nodes.Pause(n))
		case Follows:
			host, port, err := s.nodes.Inside((n + 1) % NodeCount)
			errs = append(errs, err, s.tell(n, []any{"REPLICAOF", host, port}))
		case Moved:
			s.network.each(Everybody, []int{n}, func(l *link) { l.move(s.nodes.Addrs()[s.spare]) })
			s.places[n], s.spare = s.spare, s.places[n]
		case Jumped:
			errs = append(errs, s.nodes.SetClock(n, fmt.Sprintf("%+d", int(f.Shows.Seconds()))))
		case Choked:
			errs = append(errs, s.tell(n, []any{"CONFIG", "SET", "appendfsync", "always"}))
			_ = s.tell(n, fill) // no answer: the server ends
		case Filled:
			if err := s.tell(n, fill); err != nil && !redis.HasErrorPrefix(err, "MISCONF") { // an error if it is sent twice
				errs = append(errs, err)
			}
		}
		errs = append(errs, s.tell(n, ailments[f.Kind].begin))
	}
	if w, ok := weathers[f.Kind]; ok {
		s.network.each(f.Client, f.Nodes, func(l *link) { l.set(w) })
	}
	return errors.Join(errs...)
}

// tell sends a command directly to a node, without a link, on a connection that stays open, because a server that is
// full of clients would not accept the connection that ends the fault.
func (s *stage) tell(n int, command []any) error {
	if command == nil {
		return nil
	}
	if s.lines == nil {
		s.lines = map[int]*redis.Client{}
	}
	if s.lines[n] == nil {
		s.lines[n] = redis.NewClient(ownOptions(s.nodes.Addrs()[n]))
	}
	ctx, cancel := context.WithTimeout(context.Background(), nodeTimeout)
	defer cancel()
	return s.lines[n].Do(ctx, command...).Err()
}

// ownOptions returns the options of the test's own connection to a node.
func ownOptions(addr string) *redis.Options {
	return &redis.Options{
		Addr: addr, PoolSize: 1, DisableIdentity: true, PipelinePoolSize: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (s *stage) close() error {
	var errs []error
	for _, c := range s.lines {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

func (s *stage) fix(f Fault) error {
	errs := make([]error, len(f.Nodes))
	var wg sync.WaitGroup
	for i, n := range f.Nodes {
		switch f.Kind {
		case Crash:
			wg.Go(func() { errs[i] = s.nodes.Restart(n) })
		case Torn:
			wg.Go(func() { errs[i] = errors.Join(s.nodes.CutTail(n, f.Part), s.nodes.Restart(n)) })
		case Filled, Choked:
			wg.Go(func() { errs[i] = errors.Join(s.nodes.Stop(n), s.nodes.Restart(n)) })
		case Moved: // no client uses it any more
			errs[i] = s.tell(s.spare, []any{"FLUSHALL"})
		case Jumped:
			errs[i] = s.nodes.SetClock(n, "+0")
		case Freeze:
			wg.Go(func() { errs[i] = s.nodes.Resume(n) })
		default:
			errs[i] = s.tell(n, ailments[f.Kind].fix)
		}
	}
	wg.Wait()
	if _, ok := weathers[f.Kind]; ok {
		s.network.each(f.Client, f.Nodes, func(l *link) { l.set(weather{}) })
	}
	return errors.Join(errs...)
}
