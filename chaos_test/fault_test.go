//go:build unix

package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// kind is what a fault does.
type kind string

const (
	crash    kind = "crashed" // and started again at the end
	freeze   kind = "frozen"
	cut      kind = "cut off"             // both ways; what was sent arrives in the end
	vanish   kind = "cut off, bytes lost" // both ways
	deafen   kind = "gets nothing"        // what is sent to it arrives in the end
	unheard  kind = "requests lost"
	mute     kind = "replies lost"          // what was asked has happened
	slow     kind = "slow"                  // both ways, at random
	slowTo   kind = "slow to be reached"    // at random
	slowFrom kind = "slow to be heard"      // at random
	snap     kind = "loses its connections" // several times
	full     kind = "out of memory"
	barred   kind = "refusing scripts" // to this user
	crowded  kind = "full of clients"  // after its connections were lost
	unlearn  kind = "without scripts"
	emptied  kind = "emptied by hand"
	filled   kind = "out of disk"         // and refuses to write, until a new server takes its place
	choked   kind = "dead of a full disk" // until then
	torn     kind = "crashed, and has lost the end of its file"
	jumped   kind = "showing another time"
	killing  kind = "killed and replaced"
	stopping kind = "stopped"
)

// everybody stands for all clients.
const everybody = -1

// fault is one thing that goes wrong for a while.
type fault struct {
	kind   kind
	after  time.Duration // the one before was mended, or the traffic began
	lasts  time.Duration
	nodes  []int
	client int           // the slot of the client it concerns, or everybody
	shows  time.Duration // of jumped: how much later
	part   float64       // of torn: how much of the file is left
	amid   *fault        // happens when half of it is over
}

func (f fault) String() string {
	var what []string
	for _, n := range f.nodes {
		what = append(what, fmt.Sprintf("node %d", n))
	}
	switch {
	case len(f.nodes) == 0:
		what = append(what, fmt.Sprintf("client in slot %d", f.client))
	case f.client != everybody:
		what = append(what, fmt.Sprintf("for the client in slot %d", f.client))
	}
	text := strings.Join(what, ", ") + " " + string(f.kind)
	if f.shows != 0 {
		text += fmt.Sprintf(", %v off", f.shows)
	}
	if f.amid != nil {
		text += "; amid that " + f.amid.String()
	}
	return text
}

// stage is what faults happen to.
type stage struct {
	nodes   nodes
	memory  memory // of the nodes
	network network
	crowd   *crowd
	lines   map[int]*redis.Client // see tell
	spans   []span                // what has happened
}

// play lets the faults happen, one after another, until this time is over; if it is 0 all of them.
func (s *stage) play(faults []fault, length time.Duration) error {
	end := time.Now().Add(length)
	for _, f := range faults {
		if length > 0 && time.Now().After(end) {
			break // the engine was slow
		}
		time.Sleep(f.after)
		if err := s.happen(f); err != nil {
			return err
		}
	}
	time.Sleep(time.Until(end))
	return nil
}

// happen lets a fault last its time, mends it, and writes that down.
func (s *stage) happen(f fault) error {
	sp := span{Name: f.String(), From: now()}
	switch {
	case f.kind == crash && s.memory == nothing, slices.Contains([]kind{emptied, filled, choked, torn}, f.kind):
		sp.Forgets = f.nodes
	}
	err := s.last(f)
	sp.To = now()
	s.spans = append(s.spans, sp)
	if err != nil {
		return fmt.Errorf("%s: %w", f, err)
	}
	return nil
}

func (s *stage) last(f fault) error {
	if err := s.begin(f); err != nil {
		return err
	}
	switch f.kind {
	case killing:
		if err := s.crowd.kill(f.client); err != nil {
			return err
		}
		time.Sleep(f.lasts)
		return s.crowd.spawn(f.client)
	case stopping:
		resume, err := s.crowd.halt(f.client)
		if err != nil {
			return err
		}
		time.Sleep(f.lasts)
		return resume()
	case crowded:
		s.network.each(f.client, f.nodes, (*link).snap)
	case snap:
		for end := time.Now().Add(f.lasts); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
			s.network.each(f.client, f.nodes, (*link).snap)
		}
		return nil
	}
	if f.amid != nil {
		time.Sleep(f.lasts / 2)
		f.lasts /= 2
		if err := s.happen(*f.amid); err != nil {
			return err
		}
	}
	time.Sleep(f.lasts)
	return s.mend(f)
}

func (s *stage) begin(f fault) error {
	var errs []error
	for _, n := range f.nodes {
		switch f.kind {
		case crash, torn:
			errs = append(errs, s.nodes.Stop(n))
		case freeze:
			errs = append(errs, s.nodes.Pause(n))
		case jumped:
			errs = append(errs, s.nodes.SetClock(n, fmt.Sprintf("%+d", int(f.shows.Seconds()))))
		case choked:
			errs = append(errs, s.tell(n, []any{"CONFIG", "SET", "appendfsync", "always"}))
			_ = s.tell(n, fill) // no answer comes: it ends
		case filled:
			if err := s.tell(n, fill); err != nil && !redis.HasErrorPrefix(err, "MISCONF") { // if it is told twice
				errs = append(errs, err)
			}
		}
		errs = append(errs, s.tell(n, ailments[f.kind].begin))
	}
	if w, ok := weathers[f.kind]; ok {
		s.network.each(f.client, f.nodes, func(l *link) { l.set(w) })
	}
	return errors.Join(errs...)
}

// ailments are the faults that a server can be told to have, and to have no more.
var ailments = map[kind]struct{ begin, mend []any }{
	full:    {[]any{"CONFIG", "SET", "maxmemory", "1"}, []any{"CONFIG", "SET", "maxmemory", "0"}},
	barred:  {[]any{"ACL", "SETUSER", "default", "-eval", "-evalsha"}, []any{"ACL", "SETUSER", "default", "+eval", "+evalsha"}},
	crowded: {[]any{"CONFIG", "SET", "maxclients", "1"}, []any{"CONFIG", "SET", "maxclients", "10000"}},
	unlearn: {begin: []any{"SCRIPT", "FLUSH"}},
	emptied: {begin: []any{"FLUSHALL"}},
}

// fill is more than a small disk has room for.
var fill = []any{"SET", "filler", make([]byte, tooMuch), "PX", "1000"}

// tell sends a command to a node itself, past all links, on a connection that stays: a server that is full of clients lets
// nobody in to mend it.
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

// ownOptions are those of a connection of the test's own to a node.
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

// weathers are the faults of links.
var weathers = map[kind]weather{
	cut:      {gates: [2]gate{hold, hold}},
	vanish:   {gates: [2]gate{lose, lose}},
	deafen:   {gates: [2]gate{hold, pass}},
	unheard:  {gates: [2]gate{lose, pass}},
	mute:     {gates: [2]gate{pass, lose}},
	slow:     {delay: [2]time.Duration{40 * time.Millisecond, 40 * time.Millisecond}},
	slowTo:   {delay: [2]time.Duration{80 * time.Millisecond, 0}},
	slowFrom: {delay: [2]time.Duration{0, 80 * time.Millisecond}},
}

func (s *stage) mend(f fault) error {
	errs := make([]error, len(f.nodes))
	var wg sync.WaitGroup
	for i, n := range f.nodes {
		switch f.kind {
		case crash:
			wg.Go(func() { errs[i] = s.nodes.Restart(n) })
		case torn:
			wg.Go(func() { errs[i] = errors.Join(s.nodes.CutTail(n, f.part), s.nodes.Restart(n)) })
		case filled, choked:
			wg.Go(func() { errs[i] = errors.Join(s.nodes.Stop(n), s.nodes.Restart(n)) })
		case jumped:
			errs[i] = s.nodes.SetClock(n, "+0")
		case freeze:
			wg.Go(func() { errs[i] = s.nodes.Resume(n) })
		default:
			errs[i] = s.tell(n, ailments[f.kind].mend)
		}
	}
	wg.Wait()
	if _, ok := weathers[f.kind]; ok {
		s.network.each(f.client, f.nodes, func(l *link) { l.set(weather{}) })
	}
	return errors.Join(errs...)
}

// script draws the faults of a row.
type script func(r *rand.Rand, length time.Duration, t tempo) []fault

// series is one fault after another, drawn anew each time, with a pause before each.
func series(pause func(tempo) time.Duration, draw func(r *rand.Rand, t tempo) fault) script {
	return func(r *rand.Rand, length time.Duration, t tempo) (faults []fault) {
		after := settling + upTo(r, settling)
		for {
			f := draw(r, t)
			f.after = after
			length -= f.after + f.lasts
			if len(faults) > 0 && length < 0 {
				return faults
			}
			faults = append(faults, f)
			after = pause(t) + upTo(r, settling)
		}
	}
}

// rolling is a fault of every node, one after another in an order that is drawn, however long it takes.
func rolling(pause func(tempo) time.Duration, k kind) script {
	return func(r *rand.Rand, _ time.Duration, t tempo) (faults []fault) {
		after := settling
		for _, n := range r.Perm(nodeCount) {
			faults = append(faults, fault{
				kind: k, after: after, lasts: between(r, settling/4, settling), nodes: []int{n}, client: everybody,
			})
			after = pause(t)
		}
		return faults
	}
}

// settling is a time in which traffic gets going.
const settling = 200 * time.Millisecond

// short is a pause in which connections come back.
func short(tempo) time.Duration { return 150 * time.Millisecond }

// quarantine is a pause in which every client sees that a node restarted, and lets it vote again.
func quarantine(t tempo) time.Duration { return t.MaxTTL + 300*time.Millisecond }

func upTo(r *rand.Rand, d time.Duration) time.Duration { return time.Duration(r.Int64N(int64(d) + 1)) }

func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + upTo(r, most-least)
}

// some draws n nodes.
func some(r *rand.Rand, n int) []int {
	nodes := r.Perm(nodeCount)[:n]
	slices.Sort(nodes)
	return nodes
}

// minority draws one or two of five nodes.
func minority(r *rand.Rand) []int { return some(r, 1+r.IntN(nodeCount/2)) }

func oneOf[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
