package quorumlock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// received is a receiver that passes on what it is given.
type received chan any

func (r received) Receive(_ *nodeset.Node, reply any, err error) {
	if err != nil {
		reply = err
	}
	r <- reply
}

// The transaction grants exactly where the script would find nobody, and changes nothing but the counter where it does not:
// not even the TTL of a key that never expires.
func TestTransaction_GrantsWhereTheScriptFindsNobody(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		ctx := t.Context()
		c := r.open()
		red := r.redlock(c, Config{})
		keys := namesOf("lock:k")
		lock, fence, queue, next := keys[0], keys[1], keys[2], keys[3]
		for _, holder := range []string{"", "for a while", "for ever"} {
			for _, waits := range []string{"", "queued", "woken"} {
				r.Flush(0)
				r.Put(0, fence, "100", time.Hour)
				if holder != "" {
					r.Put(0, lock, holder, map[string]time.Duration{"for a while": time.Minute}[holder])
				}
				if waits != "" {
					r.Clients[0].ZAdd(ctx, queue, redis.Z{Score: 1, Member: "Q"})
					r.Clients[0].PExpire(ctx, queue, time.Minute)
				}
				if waits == "woken" {
					r.Put(0, next, "Q", time.Minute)
				}
				h, err := red.newHold("k", Request{TokenBlock: 3})
				must(t, err)
				before := r.snapshot(0)
				got := make(received, 1)
				c.Nodes()[0].Send(h.transaction(), got)
				reply := harness.Receive(t, "the reply", got)
				grant := readTransaction(reply)
				name := fmt.Sprintf("held %q, waiting %q", holder, waits)
				if want := holder == "" && waits == ""; !grant.clean || grant.granted != want || grant.fence != 103 {
					t.Errorf("%s: %v", name, reply)
				}
				if left := r.Clients[0].PTTL(ctx, lock).Val(); grant.granted && (left <= 0 || left > lasting) ||
					holder == "for a while" && left > time.Minute || holder == "for ever" && left >= 0 && left < 365*24*time.Hour {
					t.Errorf("%s: the key lives for %v", name, left)
				}
				if grant.granted {
					if got := r.Get(0, lock); got != h.value || r.Clients[0].Exists(ctx, queue).Val() != 0 {
						t.Errorf("%s: it has left\n%s", name, r.snapshot(0))
					}
					continue
				}
				if after := r.snapshot(0); after != strings.Replace(before, `"100"`, `"103"`, 1) {
					t.Errorf("%s: it has changed\n%sto\n%s", name, before, after)
				}
			}
		}
	})
}

// asked is how many transactions and scripts the nodes have executed.
func (r *rig) asked() (transactions, scripts int64) {
	for i := range r.Len() {
		transactions += r.Commands(i)["msetnx"]
		scripts += r.scripts(i)
	}
	return transactions, scripts
}

// seen has every node know the scripts, and red the key: it has acquired and released it by script. The counters are far
// ahead, above the floors of nodes that are new.
func (r *rig) seen(red *Redlock, key string) (token int64) {
	r.t.Helper()
	warm(r.t, red)
	for i := range r.Len() {
		r.Put(i, "{lock:"+key+"}:fence", strconv.FormatInt(time.Now().Add(time.Hour).UnixMicro()+int64(i), 10), time.Hour)
	}
	h := acquireEverywhere(r.t, red, key, Request{})
	must(r.t, h.Release(context.Background()))
	r.free(key)
	return h.Token()
}

func (r *rig) free(key string) {
	r.t.Helper()
	harness.Eventually(r.t, "the key is free", func() bool { return len(r.Having("lock:"+key)) == 0 })
}

func TestAcquire_IsATransactionWhereTheKeyWasSeen(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		last := r.seen(red, "k")
		for _, block := range []int{1, 64} {
			before, scripts := r.asked()
			h := acquireEverywhere(t, red, "k", Request{First: true, TokenBlock: block})
			after, scriptsAfter := r.asked()
			if bumps := int64(2); after-before != 3 || scriptsAfter-scripts > bumps {
				t.Errorf("%d transactions and %d scripts, want 3 and bumps only", after-before, scriptsAfter-scripts)
			}
			if first := h.Token(); first <= last || lastToken(h) != first+int64(block)-1 {
				t.Errorf("tokens %d to %d after %d", first, lastToken(h), last)
			}
			last = lastToken(h)
			must(t, h.ExtendNow(t.Context(), lasting))
			must(t, h.Release(t.Context()))
			r.free("k")
		}
		before, _ := r.asked()
		h := acquireEverywhere(t, red, "k", Request{})
		if after, _ := r.asked(); after != before || h.Token() <= last {
			t.Errorf("a look that is not the first: %d transactions; token %d after %d", after-before, h.Token(), last)
		}
	})
}

// Others hold the key: the script follows, names the holder and queues, and the next looks are scripts at once.
func TestAcquire_ARefusedTransactionIsFollowedByTheScript(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		c := r.open()
		red := r.redlock(c, Config{})
		harness.Receive(t, "the mailbox", c.Listen(deaf{}))
		r.seen(red, "k")
		other := acquireEverywhere(t, r.redlock(nil, Config{Owner: "the other"}), "k", Request{})
		_, err := red.Acquire(t.Context(), "k", Request{First: true, Queue: true})
		if held := as[*NotAcquiredError](t, err); !strings.Contains(held.Holder, "the other") {
			t.Errorf("the error names no holder: %v", err)
		}
		harness.Eventually(t, "it is queued by the nodes that decided", func() bool { return len(r.Having("{lock:k}:queue")) >= 2 })
		before, _ := r.asked()
		_, err = red.Acquire(t.Context(), "k", Request{First: true})
		if after, _ := r.asked(); after != before || !errors.Is(err, ErrNotAcquired) {
			t.Errorf("%d transactions for a key that others hold: %v", after-before, err)
		}
		must(t, other.ExtendNow(t.Context(), lasting))
		must(t, other.Release(t.Context()))
	})
}

type deaf struct{}

func (deaf) Message(*nodeset.Node, string) bool { return false }
func (deaf) Unclaimed(*nodeset.Node, string)    {}
func (deaf) Gap(*nodeset.Node)                  {}

// The nodes have lost the counter: what the transactions report is no vote, and the script starts counters from the clock.
func TestAcquire_ALostCounterIsNoVoteOfATransaction(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		r.seen(red, "k")
		for i := range r.Len() {
			r.Clients[i].Del(t.Context(), "{lock:k}:fence")
		}
		before, _ := r.asked()
		h := acquireEverywhere(t, red, "k", Request{First: true})
		if after, _ := r.asked(); after-before != 3 {
			t.Errorf("%d transactions, want 3", after-before)
		}
		if an := time.Now().Add(-time.Hour).UnixMicro(); h.Token() < an {
			t.Errorf("token %d, want one of the clock, above %d", h.Token(), an)
		}
		must(t, h.Release(t.Context()))
		r.free("k")
		before, _ = r.asked()
		h = acquireEverywhere(t, red, "k", Request{First: true})
		if after, _ := r.asked(); after != before {
			t.Errorf("%d transactions to nodes that lost the counter", after-before)
		}
		must(t, h.Release(t.Context()))
		r.goneEverywhere(red.c, "lock:k")
	})
}

// The key is held by hand, and the counter is gone: what the transaction starts does not stay.
func TestAcquire_ACounterThatATransactionStartsHasATTL(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		r.seen(red, "k")
		r.Clients[0].Del(t.Context(), "{lock:k}:fence")
		r.Put(0, "lock:k", "by hand", time.Minute)
		if _, err := red.Acquire(t.Context(), "k", Request{First: true}); !errors.Is(err, ErrNotAcquired) {
			t.Fatal(err)
		}
		harness.Eventually(t, "the counter has a TTL", func() bool { return r.Clients[0].PTTL(t.Context(), "{lock:k}:fence").Val() > 0 })
	})
}

// The script that follows a transaction neither repeats nor trusts what that has left.
func TestScripts_Acquire_DrawsAnewAfterATransaction(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me"})
		fence := b.fence()
		for i, word := range []string{"2", "3"} {
			reply := b.must(b.run(drawSource+acquireSource, 4, "P/1/me", scriptTTL, 1, 0, "P", scriptRetention, scriptMaxTTL, 0, word))
			if want := fmt.Sprint([]any{1, fence + int64(i) + 1, 0}); fmt.Sprint(reply) != want {
				t.Errorf("%s: %v, want %s", word, reply, want)
			}
		}
		if words, _ := b.acquire(ask{value: "P/1/me"}); words[1] != fence+2 {
			t.Errorf("delivered again without a transaction: %v, want the counter as it is, %d", words, fence+2)
		}
	})
}

func TestReadTransaction_CountsOnlyWhatIsAsItShouldBe(t *testing.T) {
	for _, tc := range []struct {
		reply any
		want  transacted
	}{
		{[]any{int64(0), int64(1), int64(1), int64(1), int64(7), int64(0)}, transacted{true, true, 7}},
		{[]any{int64(0), int64(0), int64(0), int64(0), int64(7), int64(0)}, transacted{true, false, 7}},
		{[]any{int64(1), int64(0), int64(0), int64(0), int64(7), int64(0)}, transacted{true, false, 7}}, // a key that never expired
		{[]any{int64(0), int64(1), int64(0), int64(1), int64(7), int64(0)}, transacted{false, true, 7}},
		{[]any{int64(0), int64(1), int64(1), int64(0), int64(7), int64(0)}, transacted{false, true, 7}},
		{[]any{int64(0), int64(1), int64(1), int64(1), errors.New("ERR value is not an integer"), int64(0)}, transacted{false, true, 0}},
		{[]any{int64(0), int64(1), int64(1), int64(1), int64(7)}, transacted{}},
		{[]any{int64(0), int64(1), int64(1), int64(1), int64(7), "OK"}, transacted{false, true, 7}},
		{[]any{int64(0), "1", int64(1), int64(1), int64(7), int64(0)}, transacted{false, false, 7}},
		{nil, transacted{}},
		{"OK", transacted{}},
	} {
		if got := readTransaction(tc.reply); got != tc.want {
			t.Errorf("%v: %+v, want %+v", tc.reply, got, tc.want)
		}
	}
}

func TestSightings_LastForThreeQuartersAndEndWithARefusal(t *testing.T) {
	s := newSightings(keptPart * time.Hour)
	at := s.began
	s.wrote("a", 0, at)
	s.wrote("a", 2, at.Add(20*time.Minute))
	for after, want := range map[time.Duration]uint64{0: 5, 44 * time.Minute: 5, 45 * time.Minute: 0, 2 * time.Hour: 0} {
		if got := s.of("a", at.Add(after)); got != want {
			t.Errorf("after %v: nodes %b, want %b", after, got, want)
		}
	}
	s.wrote("a", 1, at.Add(50*time.Minute))
	if got := s.of("a", at.Add(time.Hour)); got != 2 {
		t.Errorf("seen anew: nodes %b", got)
	}
	s.wrote("a", 2, at) // an answer that comes late speaks of a TTL that is shorter
	if got := s.of("a", at.Add(time.Hour)); got != 2 {
		t.Errorf("after a late answer: nodes %b", got)
	}
	s.refused("a")
	s.wrote("a", 0, time.Now())
	if got := s.of("a", time.Now()); got != 0 {
		t.Errorf("refused just now: nodes %b", got)
	}
	if got := s.of("a", time.Now().Add(contendedFor)); got != 1 {
		t.Errorf("refused a while ago: nodes %b", got)
	}
	for i := range 3 * maxSightings {
		s.wrote(strconv.Itoa(i), 0, at)
	}
	if n := len(s.now) + len(s.old); n > 2*maxSightings || s.of(strconv.Itoa(3*maxSightings-1), at) != 1 {
		t.Errorf("%d keys are remembered", n)
	}
}

// A hold of this process is about to be released. Every other holder of
// the key, of a reservation or of a place in the queue will want it again.
func TestSight_ARefusalByAHoldOfTheProcessSaysNothing(t *testing.T) {
	onNodes(t, 1, func(t *testing.T, r *rig) {
		red := r.redlock(nil, Config{})
		h, err := red.newHold("k", Request{})
		must(t, err)
		n, process := red.c.Nodes()[0], red.c.Process()
		for _, tc := range []struct {
			granted bool
			g       grant
			again   bool
		}{
			{false, grant{holder: process + "/1/host:1"}, true},
			{false, grant{holder: process + "x/1/host:1"}, false},
			{false, grant{holder: "by hand"}, false},
			{false, grant{}, false}, // reserved for another
			{true, grant{fence: n.FenceFloor() + 2, waiters: 1}, false},
			{true, grant{fence: n.FenceFloor() + 2}, true},
		} {
			red.sightings = newSightings(time.Hour)
			red.sightings.wrote(h.lock, 0, time.Now())
			h.sight(n, tc.granted, tc.g)
			if got := red.sightings.of(h.lock, time.Now()) == 1; got != tc.again {
				t.Errorf("granted %t, %+v: the next first look is a transaction: %t", tc.granted, tc.g, got)
			}
		}
	})
}

func TestTimeLeft_OfAKeyThatNeverExpires(t *testing.T) {
	for ms, want := range map[int64]time.Duration{-1: -1, -2: -1, 0: 0, 5: 5, 1<<40 - 1: 1<<40 - 1, 1 << 40: -1, aCentury: -1, aCentury - 5000: -1, 1 << 62: -1} {
		if got := timeLeft(ms); got != want*time.Millisecond {
			t.Errorf("%d ms: %v", ms, got)
		}
	}
}

// A user whose rights are those of an earlier version acquires by script, and one line says so. The same without MULTI alone,
// where the server executes the commands of the transaction one by one.
func TestAcquire_WithoutTheRightToATransactionIsByScript(t *testing.T) {
	for _, denied := range []string{"-multi", "-exec", "-msetnx", "-incrby", "-multi -msetnx -incrby"} {
		t.Run(denied, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, harness.Real(t, 3, redisserver.Options{}))
			var log bytes.Buffer
			c := r.open(func(cfg *nodeset.Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
			red := r.redlock(c, Config{})
			last := r.seen(red, "k")
			for i := range r.Len() {
				args := []any{"acl", "setuser", "default"}
				for rule := range strings.FieldsSeq(denied) {
					args = append(args, rule)
				}
				must(t, r.Clients[i].Do(t.Context(), args...).Err())
			}
			for range 3 {
				h := acquireEverywhere(t, red, "k", Request{First: true})
				if h.Token() <= last {
					t.Errorf("token %d after %d", h.Token(), last)
				}
				last = lastToken(h)
				must(t, h.Release(t.Context()))
				r.free("k")
			}
			for _, n := range c.Nodes() {
				if n.Transacts() {
					t.Errorf("%s is sent transactions", n.Name())
				}
			}
			harness.Close(t, c)
			if n := strings.Count(log.String(), "transactions are refused"); n != 3 {
				t.Errorf("%d lines for 3 nodes:\n%s", n, &log)
			}
		})
	}
}
