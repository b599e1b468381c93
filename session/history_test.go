package session

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// keeper keeps sessions. Each has one number, which its only writer increments.
type keeper interface {
	create(ctx context.Context, user string) (id string, err error)
	write(ctx context.Context, id string, n int) error
	read(ctx context.Context, id string) (n int, ok bool, err error) // an error leaves the state of the session open
	destroy(ctx context.Context, id string) error
	logout(ctx context.Context, user, id string) error
}

// renewer is a keeper that also renews and lists sessions.
type renewer interface {
	keeper
	renew(ctx context.Context, id string) (next string, err error)
	logoutOthers(ctx context.Context, user, id string) (next string, err error)
	list(ctx context.Context, user string) (map[string]int, error) // by hash
}

// timeline is one session as observed by its users.
type timeline struct {
	id, user string

	mu     sync.Mutex
	least  int  // largest number that was acknowledged or read
	ended  bool // an end was acknowledged, or a reader found the session gone
	ending bool // an operation that ends the session has begun
}

// history holds concurrent timelines and the faults found in them.
type history struct {
	keepers []keeper
	done    atomic.Int64 // operations that succeeded
	births  atomic.Int64

	mu        sync.Mutex
	faults    map[string]int
	timelines []*timeline
}

func (h *history) fault(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults[what]++
}

// remembered is how many timelines are checked, which bounds the time of
// checking.
const remembered = 24

const opTimeout = 2 * time.Second

// look reads a session and compares the result with the state that was
// established before the read began.
func (h *history) look(k keeper, l *timeline) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	l.mu.Lock()
	least, ended := l.least, l.ended
	l.mu.Unlock()
	n, ok, err := k.read(ctx, l.id)
	if err != nil {
		return
	}
	h.done.Add(1)
	h.compare(l, n, ok, least, ended)
}

// compare judges the result of a read.
func (h *history) compare(l *timeline, n int, ok bool, least int, ended bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case ok && ended:
		h.fault("an ended session was read")
	case ok && n < least:
		h.fault("a read went backwards")
	case !ok && !l.ending:
		h.fault("a session was lost")
		l.ended, l.ending = true, true
	case !ok:
		l.ended = true
	default:
		l.least = max(l.least, n)
	}
}

func (h *history) write(k keeper, l *timeline, n int) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	if err := k.write(ctx, l.id, n); err != nil {
		h.refused(l, err)
		return
	}
	h.done.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.least = max(l.least, n)
}

// refused judges the error of an operation that only the ender of the session
// performs: the session cannot be gone before.
func (h *history) refused(l *timeline, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if isGone(err) && !l.ending {
		h.fault("a session was lost")
		l.ended, l.ending = true, true
	}
}

// list reads all sessions of a user, and compares as look does.
func (h *history) list(k renewer, user string) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	type known struct {
		l     *timeline
		least int
		ended bool
	}
	var before []known
	for _, l := range h.all() {
		if l.user == user {
			l.mu.Lock()
			before = append(before, known{l, l.least, l.ended})
			l.mu.Unlock()
		}
	}
	got, err := k.list(ctx, user)
	if err != nil {
		return
	}
	h.done.Add(1)
	for _, b := range before {
		n, ok := got[hash(b.l.id)]
		h.compare(b.l, n, ok, b.least, b.ended)
	}
}

// renew renews a session by calling how, and returns its new timeline, or nil
// if the outcome is unknown.
func (h *history) renew(l *timeline, how func(ctx context.Context) (next string, err error)) *timeline {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	l.mu.Lock()
	least, was := l.least, l.ending
	l.ending = true
	l.mu.Unlock()
	id, err := how(ctx)
	if isGone(err) && !was {
		h.fault("a session was lost")
	}
	if err != nil {
		return nil
	}
	h.done.Add(1)
	l.mu.Lock()
	l.ended = true
	l.mu.Unlock()
	return h.begin(&timeline{id: id, user: l.user, least: least})
}

func (h *history) end(k keeper, l *timeline, all bool) {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	var err error
	if all {
		err = k.logout(ctx, l.user, l.id)
	} else {
		err = k.destroy(ctx, l.id)
	}
	if err == nil {
		h.done.Add(1)
		l.mu.Lock()
		l.ended = true
		l.mu.Unlock()
	}
}

func (h *history) born(k keeper) *timeline { return h.bornTo(k, fmt.Sprint("user", h.births.Add(1))) }

func (h *history) bornTo(k keeper, user string) *timeline {
	ctx, cancel := context.WithTimeout(context.Background(), opTimeout)
	defer cancel()
	id, err := k.create(ctx, user)
	if err != nil {
		return nil
	}
	return h.begin(&timeline{id: id, user: user})
}

func (h *history) begin(l *timeline) *timeline {
	h.mu.Lock()
	h.timelines = append(h.timelines, l)
	h.timelines = h.timelines[max(0, len(h.timelines)-remembered):]
	h.mu.Unlock()
	return l
}

func (h *history) all() []*timeline {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*timeline(nil), h.timelines...)
}

// live runs one session after another. Each is written by one process, read by
// the others, renewed, ended in one of several ways, and read again.
func (h *history) live(ctx context.Context, seat int) {
	for turn := seat; ctx.Err() == nil; turn++ {
		k := h.keepers[turn%len(h.keepers)].(renewer)
		other := h.keepers[(turn+1)%len(h.keepers)].(renewer)
		l := h.born(k)
		for n := 1; l != nil && n < 6 && ctx.Err() == nil; n++ {
			if n == 3 {
				was := l
				l = h.renew(l, func(ctx context.Context) (string, error) { return other.renew(ctx, was.id) })
				h.look(k, was)
			}
			if l != nil {
				h.write(k, l, n)
				h.look(other, l)
				h.look(k, l)
			}
		}
		if l == nil {
			continue
		}
		h.list(other, l.user)
		h.finish(k, other, l, turn/len(h.keepers))
		h.look(k, l)
		h.list(k, l.user)
	}
}

// finish ends a session; of three, one by logging out all others of its user.
func (h *history) finish(k, other renewer, l *timeline, turn int) {
	if turn%3 < 2 {
		h.end(other, l, turn%3 == 0)
		return
	}
	stays := h.bornTo(other, l.user)
	if stays == nil {
		return
	}
	l.mu.Lock()
	l.ending = true
	l.mu.Unlock()
	next := h.renew(stays, func(ctx context.Context) (string, error) { return k.logoutOthers(ctx, l.user, stays.id) })
	if next != nil {
		l.mu.Lock()
		l.ended = true
		l.mu.Unlock()
		h.look(other, next)
	}
}

// busy waits until n more operations have succeeded.
func (h *history) busy(t testing.TB, n int64) {
	t.Helper()
	until := h.done.Load() + n
	eventually(t, "work to be done", func() bool { return h.done.Load() >= until })
}

// audit makes every keeper read every session several times, because chance
// decides which nodes answer first.
func (h *history) audit() {
	for range 3 {
		for _, l := range h.all() {
			for _, k := range h.keepers {
				h.look(k, l)
			}
		}
	}
}

const seats, perFault = 4, 16

// suffer runs a history while nodes are stopped, frozen, and restarted empty in
// turn. back waits until a node is asked again, and rebuilt until an emptied
// node has its sessions again.
func suffer(t *testing.T, nodes harness.Set, h *history, back, rebuilt func(node int)) {
	t.Helper()
	h.faults = map[string]int{}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for seat := range seats {
		wg.Go(func() { h.live(ctx, seat) })
	}
	defer wg.Wait()
	defer cancel()
	for i := 0; i < nodes.Len(); i += 2 { // each node at least once
		j := (i + 1) % nodes.Len()
		h.busy(t, perFault)
		nodes.Stop(i)
		nodes.Stop(j)
		h.busy(t, perFault)
		must(t, nodes.Restart(i, false))
		must(t, nodes.Restart(j, false))
		back(i)
		back(j)
		h.audit()
		nodes.Pause(i)
		nodes.Pause(j)
		h.busy(t, perFault)
		nodes.Resume(i)
		nodes.Resume(j)
		back(i)
		back(j)
		h.audit()
		must(t, nodes.Restart(i, true))
		back(i)
		h.busy(t, perFault)
		rebuilt(i)
	}
	h.audit()
}

// process is a Store as a keeper.
type process struct{ *Store }

func (p process) create(ctx context.Context, user string) (string, error) {
	ss, err := p.Create(ctx, user, data{"n": 0})
	if err != nil {
		return "", err
	}
	return ss.ID(), nil
}

func (p process) write(ctx context.Context, id string, n int) error {
	ss, err := p.Load(ctx, id)
	if err != nil {
		return err
	}
	return errors.Join(ss.Set("n", n), ss.Commit(ctx))
}

func (p process) read(ctx context.Context, id string) (int, bool, error) {
	ss, err := p.Load(ctx, id)
	switch {
	case errors.Is(err, ErrSessionGone):
		return 0, false, nil
	case err != nil:
		return 0, false, err
	}
	return Get[int](ss, "n")
}

func (p process) destroy(ctx context.Context, id string) error { return p.Destroy(ctx, id) }

func (p process) logout(ctx context.Context, user, _ string) error {
	return p.LogoutAll(ctx, user, nil)
}

func (p process) renew(ctx context.Context, id string) (string, error) {
	ss, err := p.Load(ctx, id)
	if err != nil {
		return "", err
	}
	err = ss.Renew(ctx)
	return ss.ID(), err
}

func (p process) logoutOthers(ctx context.Context, user, id string) (string, error) {
	ss, err := p.Load(ctx, id)
	if err != nil {
		return "", err
	}
	err = p.LogoutAll(ctx, user, ss)
	return ss.ID(), err
}

func (p process) list(ctx context.Context, user string) (map[string]int, error) {
	all, err := p.List(ctx, user)
	found := map[string]int{}
	for _, ss := range all {
		n, _, failed := Get[int](ss, "n")
		found[ss.hash], err = n, errors.Join(err, failed)
	}
	return found, err
}

// naive sets and deletes keys on a quorum, and returns the answer of most nodes
// of a quorum.
type naive struct{ clients []*redis.Client }

func newNaive(t *testing.T, nodes harness.Set) naive {
	var k naive
	for i := range nodes.Len() {
		k.clients = append(k.clients, harness.Client(t, nodes, i))
	}
	return k
}

var errMinority = errors.New("a minority")

// ask returns the first quorum of answers, once every node has answered or
// failed. The answer is "" for a missing key.
func (k naive) ask(ctx context.Context, do func(ctx context.Context, c *redis.Client) (string, error)) ([]string, error) {
	var mu sync.Mutex
	var got []string
	var wg sync.WaitGroup
	for _, c := range k.clients {
		wg.Go(func() {
			v, err := do(ctx, c)
			if err != nil && !errors.Is(err, redis.Nil) {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, v)
		})
	}
	wg.Wait()
	quorum := len(k.clients)/2 + 1
	if len(got) < quorum {
		return nil, errMinority
	}
	return got[:quorum], nil
}

func (k naive) create(ctx context.Context, _ string) (string, error) {
	id := newID()
	return id, k.write(ctx, id, 0)
}

func (k naive) write(ctx context.Context, id string, n int) error {
	_, err := k.ask(ctx, func(ctx context.Context, c *redis.Client) (string, error) {
		return c.Set(ctx, id, n, time.Hour).Result()
	})
	return err
}

func (k naive) read(ctx context.Context, id string) (int, bool, error) {
	got, err := k.ask(ctx, func(ctx context.Context, c *redis.Client) (string, error) { return c.Get(ctx, id).Result() })
	if err != nil {
		return 0, false, err
	}
	count, best := map[string]int{}, got[0]
	for _, v := range got {
		if count[v]++; count[v] > count[best] {
			best = v
		}
	}
	if best == "" {
		return 0, false, nil
	}
	n, err := strconv.Atoi(best)
	return n, true, err
}

func (k naive) destroy(ctx context.Context, id string) error {
	_, err := k.ask(ctx, func(ctx context.Context, c *redis.Client) (string, error) { return "", c.Del(ctx, id).Err() })
	return err
}

func (k naive) logout(ctx context.Context, _, id string) error { return k.destroy(ctx, id) }

// lasting are the options of nodes that write every change to their file before
// they answer. A node that syncs every second delays these writes while it
// syncs, and the promises do not cover two nodes that lose their last second at
// once.
var lasting = redisserver.Options{Persist: true, Args: []string{"--appendfsync", "no"}}

// Nodes are stopped, frozen and emptied, two at a time. No acknowledged write
// is lost, no ended session is revived, and no read goes back in time.
func TestStore_HistoriesUnderFaultsKeepThePromises(t *testing.T) {
	t.Parallel()
	nodes := harness.Real(t, 5, lasting)
	a, b := hasty(t, nodes), hasty(t, nodes)
	h := &history{keepers: []keeper{process{a}, process{b}}}
	back := func(i int) { up(t, a, i); up(t, b, i) }
	suffer(t, nodes, h, back, func(i int) {
		for _, l := range h.all() { // only then may the next node lose its data
			eventually(t, "the node to have the session again", func() bool {
				a.Load(t.Context(), l.id)
				return remembers(t, nodes, i, hash(l.id))
			})
		}
	})
	for what, n := range h.faults {
		t.Errorf("%d times %s", n, what)
	}
	t.Logf("%d sessions, %d operations", h.births.Load(), h.done.Load())
}

// byHand runs three timelines in each of which a store fails that asks any
// three nodes and believes the majority: two nodes miss an operation, and two
// others are unreachable when the session is read. settled waits until all
// nodes have a timeline.
func byHand(t *testing.T, nodes harness.Set, h *history, back func(node int), settled func(l *timeline)) {
	t.Helper()
	h.faults = map[string]int{}
	k := h.keepers[0]
	missed := func(do func()) {
		t.Helper()
		nodes.Stop(3)
		nodes.Stop(4)
		do()
		must(t, nodes.Restart(3, false))
		must(t, nodes.Restart(4, false))
		back(3)
		back(4)
	}
	away := func(do func()) {
		t.Helper()
		nodes.Stop(0)
		nodes.Stop(1)
		do()
		must(t, nodes.Restart(0, false))
		must(t, nodes.Restart(1, false))
		back(0)
		back(1)
	}
	var created, written, ended *timeline
	written, ended = h.born(k), h.born(k)
	if written == nil || ended == nil {
		t.Fatal("no session was created although all nodes are up")
	}
	settled(written)
	settled(ended)
	missed(func() {
		created = h.born(k)
		h.write(k, written, 1)
		h.end(k, ended, false)
	})
	if created == nil || !ended.ended || written.least != 1 {
		t.Fatal("an operation failed although three nodes are up")
	}
	away(func() {
		for _, l := range []*timeline{created, written, ended} {
			before := h.done.Load()
			eventually(t, "the session to be read", func() bool { h.look(k, l); return h.done.Load() > before })
		}
	})
}

// The checks find faults of a naive store in the same timelines in which they
// find none in this package. Otherwise the test of this package would prove
// nothing.
func TestStore_HistoriesCatchANaiveStore(t *testing.T) {
	t.Parallel()
	nodes := harness.Real(t, 5, lasting)
	set := newNaive(t, nodes)
	h := &history{keepers: []keeper{set}}
	byHand(t, nodes, h, func(i int) {
		eventually(t, "the node to be back", func() bool { return set.clients[i].Ping(t.Context()).Err() == nil })
	}, func(*timeline) {})
	for _, what := range []string{"an ended session was read", "a read went backwards", "a session was lost"} {
		if h.faults[what] != 1 {
			t.Errorf("the naive store: %d times %s, want once", h.faults[what], what)
		}
	}
	a := store(t, nodes, Config{})
	h = &history{keepers: []keeper{process{a}}}
	byHand(t, nodes, h, func(i int) { up(t, a, i) }, func(l *timeline) {
		for i := range nodes.Len() {
			cl := harness.Client(t, nodes, i)
			eventually(t, "the node to have the session", func() bool {
				return cl.Exists(t.Context(), "session:"+hash(l.id)).Val() == 1
			})
		}
	})
	for what, n := range h.faults {
		t.Errorf("this package: %d times %s", n, what)
	}
}
