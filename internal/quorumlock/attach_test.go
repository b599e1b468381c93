package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

const (
	heldValue   = "P/1/me"
	handedValue = "P/~1/me"
)

// handOut detaches the key from P/1/me where its counter is below limit.
func (b *bench) handOut(limit int64) []any {
	b.t.Helper()
	return b.must(b.run(drawSource+detachSource, 2, heldValue, scriptTTL, handedValue, 5, limit, scriptRetention, scriptMaxTTL, 0)).([]any)
}

func (b *bench) attach(value string) []any {
	b.t.Helper()
	return b.must(b.run(drawSource+attachSource, 3, value, scriptTTL, 1, 5, handedValue, scriptRetention, scriptMaxTTL, 0)).([]any)
}

func TestScripts_Detach_ReplacesTheValueBelowALimitAndLiftsTheCounterToIt(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		state := func() string { return b.Get(0, b.keys[0]) + " " + b.Get(0, b.keys[1]) }
		says := func(what string, reply []any, want, after string) {
			t.Helper()
			if got := fmt.Sprint(reply); got != want || state() != after {
				t.Errorf("%s: %s, the node has %q; want %s, %q", what, got, state(), want, after)
			}
		}
		says("a key that is gone", b.handOut(9), "[0 ]", " ")
		b.Put(0, b.keys[0], "Q/1/", time.Minute)
		says("another's key", b.handOut(9), "[0 Q/1/]", "Q/1/ ")
		b.Put(0, b.keys[0], heldValue, time.Minute)
		b.Put(0, b.keys[1], "9", time.Minute)
		says("a counter at the limit", b.handOut(9), "[2 9]", heldValue+" 9")
		says("a counter below it", b.handOut(10), "[1]", handedValue+" 10")
		if ttl := b.Clients[0].PTTL(t.Context(), b.keys[0]).Val(); ttl > scriptTTL*time.Millisecond || ttl < scriptTTL/2*time.Millisecond {
			t.Errorf("the key is kept for %v", ttl)
		}
		b.Put(0, b.keys[1], "12", time.Minute)
		says("once more, after others drew", b.handOut(10), "[1]", handedValue+" 12")
		b.Clients[0].Del(t.Context(), b.keys[0])
		b.extend(heldValue, scriptTTL)
		says("late, behind a late renewal", b.handOut(10), "[2 12]", heldValue+" 12")

		b.Clients[0].Del(t.Context(), b.keys[1])
		if reply := b.handOut(10); reply[0] != int64(2) || reply[1].(int64) < time.Now().Add(-time.Minute).UnixMicro() {
			t.Errorf("a counter that was lost: %v, want one from the clock", reply)
		}
	})
}

func TestScripts_Attach_GrantsOnlyInThePlaceOfTheHandle(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		if got := fmt.Sprint(b.attach("Q/1/")); got != "[0 0 ]" || b.Get(0, b.keys[1]) != "" {
			t.Errorf("of a key that is gone: %s, the counter is %q", got, b.Get(0, b.keys[1]))
		}
		fence, _ := b.grant(ask{value: heldValue, process: "P"})
		if got := b.attach("Q/1/"); got[0] != int64(0) || got[2] != heldValue || b.Get(0, b.keys[0]) != heldValue {
			t.Errorf("of a key that is held: %v", got)
		}
		limit := fence + 5
		b.handOut(limit)
		for range 2 { // the second is the first, delivered again
			if got, want := fmt.Sprint(b.attach("Q/1/")), fmt.Sprintf("[1 %d 0]", limit+1); got != want || b.Get(0, b.keys[0]) != "Q/1/" {
				t.Errorf("attached: %s, want %s; the key has %q", got, want, b.Get(0, b.keys[0]))
			}
		}
		if got := b.attach("R/1/"); got[0] != int64(0) || got[1].(int64) < scriptTTL/2 || got[2] != "Q/1/" {
			t.Errorf("of a key that was attached: %v", got)
		}
		if got := fmt.Sprint(b.handOut(limit + 9)); got != "[0 Q/1/]" {
			t.Errorf("a detach that comes late: %s", got)
		}
	})
}

// moved is a key that was detached, and the next process.
func moved(t *testing.T, r *rig) (from *Hold, handle Handle, next *Redlock) {
	t.Helper()
	from = acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{Owner: "nightly", TokenBlock: 64})
	handle, err := from.Detach(t.Context())
	must(t, err)
	harness.Eventually(t, "every node has answered", from.landed)
	return from, handle, r.redlock(nil, Config{})
}

func attach(t *testing.T, red *Redlock, handle Handle) *Hold {
	t.Helper()
	h, err := red.Acquire(t.Context(), "k", Request{Handle: &handle})
	must(t, err)
	return h
}

// isOver fails if the handle can be attached, or the error does not say what it
// is.
func isOver(t *testing.T, what string, red *Redlock, handle Handle) *NotAcquiredError {
	t.Helper()
	_, err := red.Acquire(t.Context(), "k", Request{Handle: &handle})
	over := as[*NotAcquiredError](t, err)
	if !errors.Is(err, ErrNotAcquired) || over.Class != ClassHandle || !strings.Contains(err.Error(), "acquire the key again") {
		t.Errorf("%s: %v", what, err)
	}
	return over
}

func TestDetach_TheKeyStaysLockedUntilItIsAttached(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		from, handle, next := moved(t, r)
		if left := time.Until(handle.Until); left > lasting || left < lasting/2 || handle.Lock != "lock:k" {
			t.Errorf("the handle is of %q, for %v", handle.Lock, left)
		}
		if err := from.Release(t.Context()); !errors.Is(err, ErrReleased) {
			t.Errorf("a release after it was detached: %v", err)
		}
		_, err := next.Acquire(t.Context(), "k", Request{})
		if held := as[*NotAcquiredError](t, err); !strings.HasPrefix(held.Holder, "detached by nightly (") {
			t.Errorf("acquired while it is detached: %v", err)
		}
		seen, err := next.Inspect(t.Context(), "k")
		must(t, err)
		if seen.State != Held || seen.Holder.Writer != WriterDetached || seen.Holder.Name != "nightly" || seen.Token != 0 {
			t.Errorf("inspected: %+v", seen)
		}

		to := attach(t, next, handle)
		if to.Token() <= lastToken(from) {
			t.Errorf("token %d, after %d", to.Token(), lastToken(from))
		}
		must(t, to.ExtendNow(t.Context(), lasting))
		isOver(t, "attached twice", next, handle)
		must(t, to.Release(t.Context()))
		isOver(t, "after the release", next, handle)
		r.goneEverywhere(next.c, "lock:k")
	})
}

func TestDetach_LateRequestsOfTheOldHolderChangeNothing(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		from, handle, next := moved(t, r)
		late := func(holder string) {
			t.Helper()
			for i, c := range r.Clients {
				keys := namesOf("lock:k")
				c.Eval(t.Context(), extendSource, keys[:1], from.value, 1000)
				c.Eval(t.Context(), wakeSource+releaseSource, keys[:], from.value, 0, "")
				if got := r.Get(i, "lock:k"); got != holder {
					t.Errorf("node %d has %q, want %q", i, got, holder)
				}
			}
		}
		late(handle.Value)
		to := attach(t, next, handle)
		harness.Eventually(t, "every node has answered", to.landed)
		late(to.value)
	})
}

// Another acquires the key once it has expired. A late renewal sets the old
// value again then, and a late detach is not accepted behind it.
func TestAttach_IsRefusedOnceAnotherHeldTheKey(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		from, handle, next := moved(t, r)
		keys := namesOf("lock:k")
		limit := r.Get(0, keys[1])
		for _, c := range r.Clients {
			must(t, c.Del(t.Context(), "lock:k").Err())
		}
		isOver(t, "after it expired", next, handle)
		must(t, acquire(t, next, "k", Request{}).Release(t.Context()))
		harness.Eventually(t, "the key is free", func() bool { return len(r.Having("lock:k")) == 0 })
		for _, c := range r.Clients {
			c.Eval(t.Context(), extendSource, keys[:1], from.value, scriptTTL)
			c.Eval(t.Context(), drawSource+detachSource, keys[:2], from.value, scriptTTL, handle.Value, 0, limit, scriptRetention, scriptMaxTTL, 0)
		}
		if over := isOver(t, "after late requests", next, handle); over.Holder != "nightly" {
			t.Errorf("held by %q, want the old value", over.Holder)
		}
	})
}

// A look by transaction raises the counters although it is refused.
func TestAttach_LooksDoNotUseUpTheHandle(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		_, handle, next := moved(t, r)
		for _, c := range r.Clients {
			must(t, c.IncrBy(t.Context(), "{lock:k}:fence", MaxTokenBlock).Err())
		}
		attach(t, next, handle)
	})
}

// The other nodes have another's value, so the attempt fails. What it was
// granted is the handle's again.
func TestAttach_AFailedAttemptReturnsTheKeyToTheHandle(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		_, handle, next := moved(t, r)
		for _, i := range []int{1, 2} {
			r.Put(i, "lock:k", "another", lasting)
		}
		if over := isOver(t, "taken on two nodes", next, handle); over.Holder != "another library" {
			t.Errorf("held by %q", over.Holder)
		}
		harness.Close(t, next.c) // when every node has answered
		if ttl := r.Clients[0].PTTL(t.Context(), "lock:k").Val(); r.Get(0, "lock:k") != handle.Value || ttl <= 0 || ttl > lasting {
			t.Errorf("the node has %q for %v, want the handle's value", r.Get(0, "lock:k"), ttl)
		}
		for _, i := range []int{1, 2} {
			r.Put(i, "lock:k", handle.Value, lasting)
		}
		attach(t, r.redlock(nil, Config{}), handle)
	})
}

// Or a worker that tries it again and again locks a key for ever that others
// could acquire.
func TestAttach_AFailedAttemptDoesNotProlongTheHandle(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		_, handle, _ := moved(t, r)
		for _, i := range []int{1, 2} {
			r.Put(i, "lock:k", "another", lasting)
		}
		for _, left := range []time.Duration{lasting / 4, -time.Second} {
			handle.Until = time.Now().Add(left)
			next := r.redlock(nil, Config{})
			isOver(t, "taken on two nodes", next, handle)
			harness.Close(t, next.c) // when every node has answered
			if ttl := r.Clients[0].PTTL(t.Context(), "lock:k").Val(); ttl > max(left, 0) || (ttl > 0) != (left > 0) {
				t.Errorf("a handle for %v more: the key is kept for %v", left, ttl)
			}
		}
	})
}

func TestScripts_Return_GivesBackToTheHandleOnlyWhatItHasLeft(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		back := func(left time.Duration) any {
			return b.must(b.run(returnSource, 1, "Q/1/", handedValue, left.Milliseconds()))
		}
		if got := back(time.Hour); got != int64(0) || b.Get(0, b.keys[0]) != "" {
			t.Errorf("what is gone: %v", got)
		}
		b.Put(0, b.keys[0], "R/1/", time.Minute)
		if got := back(time.Hour); got != int64(2) || b.Get(0, b.keys[0]) != "R/1/" {
			t.Errorf("another's: %v", got)
		}
		for given, kept := range map[time.Duration]time.Duration{time.Hour: time.Minute, 30 * time.Second: 30 * time.Second} {
			b.Put(0, b.keys[0], "Q/1/", time.Minute)
			got, left := back(given), b.Clients[0].PTTL(t.Context(), b.keys[0]).Val()
			if got != int64(1) || b.Get(0, b.keys[0]) != handedValue || left > kept || left < kept/2 {
				t.Errorf("for %v: %v; kept for %v, want %v", given, got, left, kept)
			}
		}
		b.Put(0, b.keys[0], "Q/1/", time.Minute)
		if got := back(0); got != int64(1) || b.Get(0, b.keys[0]) != "" {
			t.Errorf("for no time: %v", got)
		}
	})
}

// Answers that arrive after the caller gave up are returned to the handle, too.
func TestAttach_ACancelledAttemptCanBeRepeated(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		r := newRig(t, s)
		_, handle, _ := moved(t, r)
		next := r.redlock(r.open(patient), Config{})
		r.pause(0, 1, 2)
		ctx, cancel := context.WithCancel(t.Context())
		failed := make(chan error)
		go func() {
			_, err := next.Acquire(ctx, "k", Request{Handle: &handle})
			failed <- err
		}()
		cancel()
		if err := harness.Receive(t, "the error", failed); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
		r.resume(0, 1, 2)
		harness.Eventually(t, "it is attached", func() bool {
			_, err := next.Acquire(t.Context(), "k", Request{Handle: &handle})
			return err == nil
		})
	})
}

func TestAttach_OneOfManyAttemptsSucceeds(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		_, handle, first := moved(t, r)
		all := []*Redlock{first, r.redlock(nil, Config{}), r.redlock(nil, Config{})}
		var holds []*Hold
		for tries := 0; len(holds) == 0 && tries < 100; tries++ {
			results := make(chan *Hold, len(all))
			for _, red := range all {
				go func() {
					h, _ := red.Acquire(t.Context(), "k", Request{Handle: &handle})
					results <- h
				}()
			}
			for range all {
				if h := harness.Receive(t, "a result", results); h != nil {
					holds = append(holds, h)
				}
			}
		}
		if len(holds) != 1 {
			t.Errorf("%d have attached with one handle", len(holds))
		}
	})
}

// Others draw from the counters while the key is detached: it is tried again
// above them. A counter that is out of range is no reason to lift the others.
func TestDetach_ExceedsCountersThatWereRaised(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		h := acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{})
		ahead := time.Now().Add(time.Hour).UnixMicro()
		for i := range 2 {
			r.Put(i, "{lock:k}:fence", strconv.FormatInt(ahead, 10), time.Hour)
		}
		r.Put(2, "{lock:k}:fence", strconv.FormatInt(maxFence-2, 10), time.Hour)
		handle, err := h.Detach(t.Context())
		must(t, err)
		for i := range 2 {
			if got, _ := strconv.ParseInt(r.Get(i, "{lock:k}:fence"), 10, 64); got < ahead+limitAhead || got > ahead+2*limitAhead {
				t.Errorf("node %d counts from %d, which was at %d", i, got, ahead)
			}
		}
		if to := attach(t, r.redlock(nil, Config{}), handle); to.Token() <= ahead {
			t.Errorf("token %d", to.Token())
		}
	})
}

// They follow the counter, whatever the clock of the process says.
func TestDetach_LiftsCountersByLittle(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		const moves = 20
		red := r.redlock(nil, Config{})
		for i, n := range red.c.Nodes() { // not lost: a counter below the floor starts from the clock
			r.Put(i, "{lock:k}:fence", strconv.FormatInt(n.FenceFloor()+int64(time.Minute/time.Microsecond), 10), time.Hour)
		}
		h := acquire(t, red, "k", Request{})
		first := h.Token()
		for range moves {
			handle, err := h.Detach(t.Context())
			must(t, err)
			h = attach(t, red, handle)
		}
		if lifted := h.Token() - first; lifted > moves*(limitAhead+8) {
			t.Errorf("%d detaches have lifted the counters by %d", moves, lifted)
		}
	})
}

// The last answer arrives while the one that decided is taken in.
func TestDetach_TheLastAnswersMayComeAtOnce(t *testing.T) {
	r := newRig(t, harness.Embedded(t, 3))
	h := acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{})
	d := &detaching{answered: make(chan struct{}), awaited: 3}
	answers := func(i int) { d.Receive(h.r.c.Nodes()[i], []any{int64(1)}, nil) }
	d.extension = &extension{h: h, ttl: lasting, start: time.Now(), open: 3, settle: func(Verdict) { answers(2) }}
	h.mu.Lock()
	h.round = d.extension
	for i := range h.members {
		h.members[i].inFlight++
	}
	h.mu.Unlock()
	answers(0)
	answers(1)
	harness.Receive(t, "the last answer", d.answered)
}

// The renewer has found the key due, and comes to it after the detach has begun.
func TestDetach_ARenewalDoesNotTakeItsPlace(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		r := newRig(t, s)
		red := r.redlock(r.open(patient), Config{})
		h := acquireEverywhere(t, red, "k", Request{})
		r.pause(0, 1, 2)
		failed := make(chan error, 1)
		go func() {
			_, err := h.Detach(t.Context())
			failed <- err
		}()
		harness.Eventually(t, "the detach is under way", func() bool { return !h.landed() })
		h.Extend(lasting, func(v Verdict) { t.Errorf("a renewal was %v beside a detach", v) })
		r.resume(0, 1, 2)
		must(t, harness.Receive(t, "the detach", failed))
	})
}

// The renewal began before the detach and reaches the nodes behind it, which
// name the handle as the holder then.
func TestDetach_ThatFailsReleasesAlsoBehindARenewal(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		h := acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{})
		for _, i := range []int{1, 2} {
			r.Put(i, "{lock:k}:fence", strconv.FormatInt(maxFence-2, 10), time.Hour)
		}
		var box Outbox
		h.ExtendIn(&box, lasting, func(Verdict) {})
		_, err := h.Detach(t.Context())
		as[*nodeset.QuorumError](t, err)
		box.Send()
		r.goneEverywhere(h.r.c, "lock:k")
	})
}

func TestDetach_WithoutAQuorumReleasesTheKey(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		r := newRig(t, s)
		c := r.open(impatient)
		h := acquireEverywhere(t, r.redlock(c, Config{}), "k", Request{})
		r.pause(1, 2)
		_, err := h.Detach(t.Context())
		if few := as[*nodeset.QuorumError](t, err); few.Op != "detach" {
			t.Errorf("with one node: %v", err)
		}
		if err := h.StartRelease(); !errors.Is(err, ErrReleased) {
			t.Fatal("the key is not released")
		}
		r.resume(1, 2)
		r.goneEverywhere(c, "lock:k")
	})
}

func TestDetach_OfAKeyThatWasLostFails(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		h := acquireEverywhere(t, r.redlock(nil, Config{}), "k", Request{})
		r.Flush(0, 1)
		_, err := h.Detach(t.Context())
		as[*LostError](t, err)
		r.goneEverywhere(h.r.c, "lock:k")
	})
}

func TestHandle_IsReadBackAndMalformedOnesAreNot(t *testing.T) {
	value := strings.Repeat("P", processLen) + "/~+1/vm:1/nightly"
	want := Handle{"lock:{\xff}/1", value, time.UnixMilli(1_795_996_800_123).UTC()}
	text := want.String()
	if got, err := ParseHandle(text); err != nil || got != want {
		t.Errorf("%q is read as %+v, %v", text, got, err)
	}
	if strings.ContainsAny(text, " \n\"/+=") || strings.Contains(text, "nightly") {
		t.Errorf("%q cannot travel everywhere", text)
	}
	forged := Handle{"lock:k", strings.Replace(value, "~", "", 1), want.Until}.String()
	bad := []string{"", "k", handlePrefix, handlePrefix + "e30", "redlock2" + text[len("redlock1"):], " " + text, forged}
	for i := range len(text) - 1 {
		bad = append(bad, text[:i])
	}
	for _, text := range bad {
		if _, err := ParseHandle(text); !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), "Lease.Detach") ||
			len(text) > 20 && strings.Contains(err.Error(), text) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if slices.Contains(bad, text) {
		t.Error("the whole handle is no bad one")
	}
}
