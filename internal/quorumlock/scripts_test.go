package quorumlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// Each script alone, on one node, as the node executes it.

const (
	scriptTTL       = 10_000     // ms
	scriptRetention = 86_400_000 // ms
	scriptMaxTTL    = 60_000     // ms
	scriptReserve   = 5_000      // ms: longer than by default, so that it does not end during a test
)

// bench runs scripts on the one node of a rig.
type bench struct {
	*rig
	keys names
}

func onOneNode(t *testing.T, fn func(t *testing.T, b *bench)) {
	t.Helper()
	onNodes(t, 1, func(t *testing.T, r *rig) { fn(t, &bench{r, namesOf("lock:k")}) })
}

func (b *bench) run(src string, keys int, args ...any) (any, error) {
	return b.Clients[0].Eval(context.Background(), src, b.keys[:keys], args...).Result()
}

func (b *bench) must(reply any, err error) any {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	return reply
}

// ask is one request for the key.
type ask struct {
	value   string
	span    int64
	floor   int64
	boot    int64
	process string
	queue   bool
}

func (b *bench) acquire(a ask) ([]any, error) {
	if a.span == 0 {
		a.span = 1
	}
	reply, err := b.run(drawSource+acquireSource, 4, a.value, scriptTTL, a.span, a.floor, a.process,
		scriptRetention, scriptMaxTTL, a.boot, oneIf(a.queue))
	words, _ := reply.([]any)
	return words, err
}

// grant acquires, and gives out the fence and the number of waiters.
func (b *bench) grant(a ask) (fence, waiters int64) {
	b.t.Helper()
	words, err := b.acquire(a)
	if err != nil || len(words) != 3 || words[0] != int64(1) {
		b.t.Fatalf("acquire(%+v) = %v, %v; want a grant", a, words, err)
	}
	return words[1].(int64), words[2].(int64)
}

// refuse acquires in vain, and gives out the holder and how many ms are left.
func (b *bench) refuse(a ask) (holder string, left int64) {
	b.t.Helper()
	words, err := b.acquire(a)
	if err != nil || len(words) != 3 || words[0] != int64(0) {
		b.t.Fatalf("acquire(%+v) = %v, %v; want a refusal", a, words, err)
	}
	return words[2].(string), words[1].(int64)
}

// awaited has P/1/me have the key, and these processes wait for it. What they hear comes out of the channel.
func (b *bench) awaited(processes ...string) (heard <-chan string) {
	b.t.Helper()
	heard = b.hear(processes...)
	b.grant(ask{value: "P/1/me", process: "P"})
	for _, p := range processes {
		b.refuse(ask{value: p + "/1/", process: p, queue: true})
	}
	return heard
}

func (b *bench) release(value string) any {
	b.t.Helper()
	return b.must(b.run(wakeSource+releaseSource, 4, value, scriptReserve, ""))
}

func (b *bench) leave(process string) any {
	b.t.Helper()
	return b.must(b.run(wakeSource+leaveSource, 4, process, scriptReserve, "", ""))
}

func (b *bench) stepOut(process string) any {
	b.t.Helper()
	return b.must(b.run(wakeSource+leaveSource, 4, process, 0, "", ""))
}

// raise bumps the counter, of which the caller was told what it is now, for one token.
func (b *bench) raise(value string, to int64) any {
	b.t.Helper()
	reported, _ := b.Clients[0].Get(context.Background(), b.keys[1]).Int64()
	return b.raiseFrom(value, reported, to, 1)
}

func (b *bench) raiseFrom(value string, reported, to, block int64) any {
	b.t.Helper()
	return b.must(b.run(bumpFenceSource, 2, value, to, scriptRetention, reported, block))
}

func (b *bench) extend(value string, ttl int64) []any {
	b.t.Helper()
	return b.must(b.run(extendSource, 1, value, ttl)).([]any)
}

func (b *bench) queue() []string {
	b.t.Helper()
	all, err := b.Clients[0].ZRange(context.Background(), b.keys[2], 0, -1).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return all
}

func (b *bench) fence() int64 {
	b.t.Helper()
	n, err := strconv.ParseInt(b.Get(0, b.keys[1]), 10, 64)
	if err != nil {
		b.t.Fatal(err)
	}
	return n
}

func (b *bench) pttl(name string) time.Duration {
	return b.Clients[0].PTTL(context.Background(), name).Val()
}

func (b *bench) now() time.Time {
	b.t.Helper()
	now, err := b.Clients[0].Time(context.Background()).Result()
	if err != nil {
		b.t.Fatal(err)
	}
	return now
}

// hear subscribes as these processes do, and gives out "<process> <message>" as they come.
func (b *bench) hear(processes ...string) <-chan string {
	b.t.Helper()
	return b.hearOn(0, processes...)
}

// hearOn is hear on one node.
func (r *rig) hearOn(node int, processes ...string) <-chan string {
	r.t.Helper()
	var channels []string
	for _, p := range processes {
		channels = append(channels, nodeset.Channel(p))
	}
	sub := r.Clients[node].Subscribe(context.Background(), channels...)
	for range channels {
		if _, err := sub.Receive(context.Background()); err != nil {
			r.t.Fatal(err)
		}
	}
	heard := make(chan string, 100)
	messages := sub.Channel()
	go func() {
		for m := range messages {
			heard <- strings.TrimPrefix(m.Channel, nodeset.Channel("")) + " " + m.Payload
		}
	}()
	r.t.Cleanup(func() { _ = sub.Close() })
	return heard
}

func TestScripts_Acquire_GrantsAFreeKey(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		floor := time.Now().Add(30 * time.Second).UnixMicro() // above the second of the node's clock, whenever that moves
		fence, waiters := b.grant(ask{value: "P/1/me", span: 64, floor: floor, process: "P"})
		if fence != floor+64 || waiters != 0 {
			t.Errorf("fence %d, waiters %d; want %d, 0", fence, waiters, floor+64)
		}
		if got := b.Get(0, b.keys[0]); got != "P/1/me" {
			t.Errorf("the key holds %q", got)
		}
		if got := b.pttl(b.keys[0]); got <= 0 || got > scriptTTL*time.Millisecond {
			t.Errorf("the key lives for %v", got)
		}
		if got := b.pttl(b.keys[1]); got <= scriptMaxTTL*time.Millisecond || got > scriptRetention*time.Millisecond {
			t.Errorf("the fence lives for %v", got)
		}
		if b.fence() != fence {
			t.Errorf("the counter is %d, reported was %d", b.fence(), fence)
		}
	})
}

func TestScripts_Acquire_RefusesAHeldKey(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me", process: "P"})
		before := b.snapshot(0)
		holder, left := b.refuse(ask{value: "Q/1/you", process: "Q"})
		if holder != "P/1/me" || left <= 0 || left > scriptTTL {
			t.Errorf("holder %q, %d ms left", holder, left)
		}
		if after := b.snapshot(0); after != before {
			t.Errorf("a refusal without a waiter changed the node from\n%sto\n%s", before, after)
		}
	})
}

// A key without a TTL, which no lock has, says that it is not known when it comes free.
func TestScripts_Acquire_DoesNotSayWhenAKeyWithoutTTLIsFree(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.Put(0, b.keys[0], "for ever", 0)
		if holder, left := b.refuse(ask{value: "P/1/me"}); holder != "for ever" || left != -1 {
			t.Errorf("holder %q, left %d; want -1", holder, left)
		}
	})
}

func TestScripts_Acquire_QueuesRefusedProcessesInOrder(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		b.grant(ask{value: "P/1/me", process: "P"})
		b.refuse(ask{value: "R/1/", process: "R", queue: true})
		b.refuse(ask{value: "Q/1/", process: "Q", queue: true})
		b.refuse(ask{value: "R/2/", process: "R", queue: true}) // asks again, and keeps its place
		if got := b.queue(); !slices.Equal(got, []string{"R", "Q"}) {
			t.Errorf("queue = %v, want [R Q]", got)
		}
		if got := b.pttl(b.keys[2]); got <= scriptTTL*time.Millisecond || got > scriptMaxTTL*time.Millisecond {
			t.Errorf("the queue lives for %v", got)
		}
		for range 3 {
			if got := harness.Receive(t, "the announcement of a look", heard); got != "P qlock:k" {
				t.Errorf("heard %q", got)
			}
		}
		b.release("P/1/me")
		if got := harness.Receive(t, "the first in the queue is woken", heard); got != "R wlock:k" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestScripts_Acquire_ReportsTheNumberOfWaiters(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me", process: "P"})
		for _, p := range []string{"Q", "R", "S"} {
			b.refuse(ask{value: p + "/1/", process: p, queue: true})
		}
		b.release("P/1/me") // nobody listens: the queue is dropped
		if got := b.queue(); len(got) != 0 {
			t.Fatalf("queue = %v", got)
		}
		b.grant(ask{value: "P/2/me", process: "P"})
		for _, p := range []string{"Q", "R", "S"} {
			b.refuse(ask{value: p + "/2/", process: p, queue: true})
		}
		b.Clients[0].Del(context.Background(), b.keys[0])
		if _, waiters := b.grant(ask{value: "Q/3/", process: "Q"}); waiters != 2 {
			t.Errorf("%d wait, want R and S", waiters)
		}
		b.leave("Q")
		b.Clients[0].Del(context.Background(), b.keys[0])
		if _, waiters := b.grant(ask{value: "T/1/", process: "T"}); waiters != 2 {
			t.Errorf("%d wait, want R and S", waiters)
		}
		b.leave("R")
		b.Clients[0].Del(context.Background(), b.keys[0])
		if _, waiters := b.grant(ask{value: "S/3/", process: "S"}); waiters != 0 {
			t.Errorf("%d others wait, and S is the last", waiters)
		}
	})
}

// An attempt that is granted the key here may fail by the other nodes, and waits on.
func TestScripts_Acquire_KeepsTheQueuePlaceUntilDequeued(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.awaited("Q", "R")
		b.release("P/1/me")
		harness.Receive(t, "Q's wake", heard)
		b.grant(ask{value: "Q/2/", process: "Q"})
		if got := b.queue(); !slices.Equal(got, []string{"Q", "R"}) {
			t.Errorf("queue = %v, want [Q R]", got)
		}
		b.stepOut("Q")
		if got := b.queue(); !slices.Equal(got, []string{"R"}) || b.Get(0, b.keys[3]) != "" {
			t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
		}
	})
}

// An announcement may be lost with a connection, and the first process in the queue may be one that does not look any
// more, so every look of every waiter is announced.
func TestScripts_Acquire_AnnouncesEveryRefusedAttempt(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.awaited("Q")
		b.release("P/1/me")
		harness.Receive(t, "Q's wake", heard)
		b.grant(ask{value: "Q/2/", process: "Q"})
		for _, look := range []ask{
			{value: "R/1/", process: "R", queue: true}, {value: "S/1/", process: "S", queue: true}, {value: "S/2/", process: "S", queue: true},
		} {
			b.refuse(look)
			b.Clients[0].Publish(t.Context(), nodeset.Channel("Q"), "end")
			if got := harness.Receive(t, "the announcement", heard); got != "Q qlock:k" {
				t.Fatalf("heard %q", got)
			}
			harness.Receive(t, "the end", heard)
		}
		b.refuse(ask{value: "T/1/", process: "T"}) // it does not wait
		b.release("Q/2/")
		if got := harness.Receive(t, "a wake", heard); got != "Q wlock:k" { // and no announcement before it
			t.Errorf("heard %q", got)
		}
	})
}

// A process that is stopped counts as one that listens. It must not cost every release the time for which the key is kept.
// A process that is slower than the moment for which the key is kept for it is not stopped yet.
func TestScripts_Wake_TheThirdUnusedOneCostsThePlace(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.awaited("stopped", "Q", "R")
		for n := range 3 {
			b.release(fmt.Sprintf("P/%d/me", n+1))
			if got := harness.Receive(t, "a wake of the one that is stopped", heard); got != "stopped wlock:k" {
				t.Fatalf("wake %d: heard %q", n, got)
			}
			if err := b.Clients[0].Del(t.Context(), b.keys[3]).Err(); err != nil { // as if its time were over
				t.Fatal(err)
			}
			b.grant(ask{value: fmt.Sprintf("P/%d/me", n+2), process: "P"})
		}
		b.release("P/4/me")
		if got := harness.Receive(t, "a wake", heard); got != "Q wlock:k" {
			t.Errorf("heard %q", got)
		}
		if got := b.queue(); !slices.Equal(got, []string{"Q", "R"}) || b.Get(0, b.keys[3]) != "Q" {
			t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
		}
	})
}

// A process that is stopped loses its place at the fourth wake, and one that looks loses its mark, by a clock before and
// after a score has no room for a quarter of a microsecond.
func TestScripts_Wake_CountFitsTheScoreUnderEveryClock(t *testing.T) {
	for year, second := range map[string]int64{"2026": 1795996800, "2041": 2251799813, "2042": 2272147200, "2090": 3786912000} {
		at := func(source string) string {
			return strings.ReplaceAll(source, "redis.call('TIME')", fmt.Sprintf("{'%d', '685247'}", second))
		}
		t.Run(year, func(t *testing.T) {
			onOneNode(t, func(t *testing.T, b *bench) {
				b.hear("stopped", "Q")
				b.grant(ask{value: "P/1/me", process: "P"})
				queue := func(process string) {
					b.must(b.run(at(drawSource+acquireSource), 4, process+"/1/", scriptTTL, 1, 0, process, scriptRetention, scriptMaxTTL, 0, "1"))
				}
				place := func() float64 { return b.Clients[0].ZScore(t.Context(), b.keys[2], "stopped").Val() }
				wake := func() {
					b.must(b.run(at(wakeSource+"wake(KEYS[1], KEYS[3], KEYS[4], ARGV[1], ''); return redis.call('DEL', KEYS[4])"), 4, 100))
				}
				queue("stopped")
				queue("Q")
				first := place()
				later := redis.Z{Score: float64(int64(first)/4*4 + 8), Member: "Q"}
				must(t, b.Clients[0].ZAdd(t.Context(), b.keys[2], later).Err())
				if queued := float64(second*1_000_000 + 685247); first > queued || first <= queued-4 {
					t.Errorf("it queued at %f, its place is %f", queued, first)
				}
				for n := range 3 {
					wake()
					if marked := place(); marked <= first || marked >= first+4 {
						t.Fatalf("wake %d: the score of the place %f is %f", n+1, first, marked)
					}
				}
				queue("stopped") // it looks
				if again := place(); again != first {
					t.Errorf("it looked at the place %f, and is at %f", first, again)
				}
				for range 3 {
					wake()
				}
				if got := b.queue(); !slices.Equal(got, []string{"stopped", "Q"}) {
					t.Errorf("after three wakes the queue is %v", got)
				}
				wake()
				if got := b.queue(); !slices.Equal(got, []string{"Q"}) {
					t.Errorf("after the fourth wake the queue is %v", got)
				}
				b.must(b.run(at(wakeSource+leaveSource), 4, "Q", 0, "1", ""))
				if last := b.Clients[0].ZScore(t.Context(), b.keys[2], "Q").Val(); last != first {
					t.Errorf("at the end of the queue it is at %f, want %f", last, first)
				}
			})
		})
	}
}

// All in one script, during which no time passes on a server.
func TestScripts_Wake_ReservesLongerAfterEachUnusedOne(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.awaited("slow")
		const thrice = `
			local kept = {}
			for n = 1, 3 do
				wake(KEYS[1], KEYS[3], KEYS[4], ARGV[1], '')
				kept[n] = redis.call('PTTL', KEYS[4])
				redis.call('DEL', KEYS[4])
			end
			return kept`
		kept := b.must(b.run(wakeSource+thrice, 4, "100")).([]any)
		least := int64(0)
		for n, most := range []int64{100, 400, 500} {
			if got := kept[n].(int64); got <= least || got > most {
				t.Errorf("wake %d keeps the key for %d ms, want more than %d, at most %d", n, got, least, most)
			}
			least = most
		}
	})
}

func TestScripts_Wake_KeepsThePlaceOfTheWokenProcess(t *testing.T) {
	for name, between := range map[string]func(b *bench){
		"while the key is kept for it": func(b *bench) {
			for range 4 {
				b.extend("P/1/me", scriptTTL) // a renewal sets it again
				b.release("P/1/me")
			}
		},
		"when it looks, and another has the key": func(b *bench) {
			for range 4 {
				b.Clients[0].Del(context.Background(), b.keys[3])
				b.grant(ask{value: "P/2/me", process: "P"})
				b.refuse(ask{value: "Q/2/", process: "Q", queue: true})
				b.release("P/2/me")
			}
		},
		"when it is granted the key, and fails by other nodes": func(b *bench) {
			b.grant(ask{value: "Q/2/", process: "Q"})
			b.release("Q/2/")
		},
	} {
		t.Run(name, func(t *testing.T) {
			onOneNode(t, func(t *testing.T, b *bench) {
				heard := b.awaited("Q", "R")
				before := b.Clients[0].ZScore(t.Context(), b.keys[2], "Q").Val()
				b.release("P/1/me")
				harness.Receive(t, "Q's wake", heard)
				between(b)
				if got := harness.Receive(t, "another wake", heard); got != "Q wlock:k" {
					t.Errorf("heard %q", got)
				}
				if got := b.queue(); !slices.Equal(got, []string{"Q", "R"}) || b.Get(0, b.keys[3]) != "Q" {
					t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
				}
				b.grant(ask{value: "Q/3/", process: "Q"})
				if after := b.Clients[0].ZScore(t.Context(), b.keys[2], "Q").Val(); after != before {
					t.Errorf("it queued at %f, and stands there since %f", before, after)
				}
			})
		})
	}
}

// What an attempt that was outvoted gives back, and a place in the queue that a winner leaves, are no reason to wake anybody.
func TestScripts_Wake_NobodyWithoutAReservation(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.awaited("Q", "R")
		if reply := b.must(b.run(wakeSource+releaseSource, 4, "P/1/me", 0, "")); reply != int64(1) || b.Get(0, b.keys[0]) != "" {
			t.Errorf("release = %v", reply)
		}
		b.stepOut("Q")
		if got := b.queue(); !slices.Equal(got, []string{"R"}) || b.Get(0, b.keys[3]) != "" {
			t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
		}
		b.Clients[0].Publish(t.Context(), nodeset.Channel("Q"), "end")
		if got := harness.Receive(t, "the end", heard); got != "Q end" {
			t.Errorf("heard %q", got)
		}
	})
}

func TestScripts_Extend_RenewsOnlyItsOwn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me"})
		if got := b.extend("P/1/me", 50_000); fmt.Sprint(got) != "[1]" {
			t.Errorf("extending what is mine = %v", got)
		}
		if got := b.pttl(b.keys[0]); got <= scriptTTL*time.Millisecond || got > 50*time.Second {
			t.Errorf("the key lives for %v", got)
		}
		before := b.snapshot(0)
		if got := b.extend("Q/1/you", 55_000); fmt.Sprint(got) != "[0 P/1/me]" {
			t.Errorf("extending what is another's = %v", got)
		}
		if got := b.pttl(b.keys[0]); got > 50*time.Second {
			t.Errorf("it lives for %v now", got)
		}
		if after := b.snapshot(0); after != before {
			t.Errorf("and the node changed from\n%sto\n%s", before, after)
		}
		b.Clients[0].Del(context.Background(), b.keys[0])
		if got := b.extend("P/1/me", 5_000); fmt.Sprint(got) != "[2]" {
			t.Errorf("extending what is gone = %v", got)
		}
		if got := b.pttl(b.keys[0]); b.Get(0, b.keys[0]) != "P/1/me" || got <= 0 || got > 5*time.Second {
			t.Errorf("healed: %q for %v", b.Get(0, b.keys[0]), got)
		}
	})
}

func TestScripts_BumpFence_NeedsTheHolder(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		fence, _ := b.grant(ask{value: "P/1/me"})
		if got := b.raise("Q/1/you", fence+10); got != int64(0) || b.fence() != fence {
			t.Errorf("another's raise = %v, counter moved by %d", got, b.fence()-fence)
		}
		if got := b.raise("P/1/me", fence+10); got != int64(1) || b.fence() != fence+10 {
			t.Errorf("the owner's raise = %v, counter moved by %d", got, b.fence()-fence)
		}
		// The node has granted the key to others since it was told what the token is made of.
		if got := b.raiseFrom("P/1/me", fence, fence+5, 1); got != int64(0) || b.fence() != fence+10 {
			t.Errorf("a raise to less = %v, counter moved by %d; it must not fall", got, b.fence()-fence)
		}
		if got := b.pttl(b.keys[1]); got <= scriptMaxTTL*time.Millisecond {
			t.Errorf("the counter lives for %v", got)
		}
		b.release("P/1/me")
		if got := b.raise("P/1/me", fence+20); got != int64(0) || b.fence() != fence+10 {
			t.Errorf("a raise after the release = %v, counter moved by %d", got, b.fence()-fence)
		}
	})
}

// The counter has moved since the node reported 100, or not.
func TestScripts_BumpFence_NeedsACounterThatGrantedNoneOfTheBlock(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		for _, tc := range []struct {
			counter, to, block int64 // counter 0: there is none
			owned              bool
		}{
			{100, 101, 1, true},
			{100, 110, 64, true}, // as it was reported, though within the block
			{101, 110, 1, true},  // somebody else took 101, which is below the block
			{109, 110, 1, true},
			{110, 110, 1, false}, // somebody else took 110
			{111, 110, 1, false},
			{101, 102, 2, false}, // somebody else took 101, of a block that is 101 and 102
			{106, 110, 4, true},
			{107, 110, 4, false},
			{0, 110, 1, false}, // it was lost
			{99, 110, 1, false},
			{100, 100, 1, false},
		} {
			b.Flush(0)
			b.Put(0, b.keys[0], "P/1/me", time.Minute)
			if tc.counter != 0 {
				b.Put(0, b.keys[1], strconv.FormatInt(tc.counter, 10), time.Minute)
			}
			want, left := int64(0), tc.counter
			if tc.owned {
				want, left = 1, tc.to
			}
			got := b.raiseFrom("P/1/me", 100, tc.to, tc.block)
			now, _ := b.Clients[0].Get(context.Background(), b.keys[1]).Int64()
			if got != want || now != left {
				t.Errorf("%+v: %v, and the counter is %d; want %d and %d", tc, got, now, want, left)
			}
			if tc.owned {
				if again := b.raiseFrom("P/1/me", 100, tc.to, tc.block); again != int64(0) || b.fence() != tc.to {
					t.Errorf("%+v: a second copy is answered %v, and the counter is %d", tc, again, b.fence())
				}
			}
		}
	})
}

func TestScripts_Release_FreesOnlyItsOwn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		if got := b.release("P/1/me"); got != int64(0) {
			t.Errorf("releasing what is free = %v, want 0", got)
		}
		b.grant(ask{value: "P/1/me"})
		if got := b.release("Q/1/you"); got != int64(2) || b.Get(0, b.keys[0]) == "" {
			t.Errorf("releasing what is another's = %v, want 2; the key holds %q", got, b.Get(0, b.keys[0]))
		}
		if got := b.release("P/1/me"); got != int64(1) || b.Get(0, b.keys[0]) != "" {
			t.Errorf("releasing = %v, want 1; the key holds %q", got, b.Get(0, b.keys[0]))
		}
	})
}

func TestScripts_Release_WakesTheFirstLivingWaiterAndReservesTheKey(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me", process: "P"})
		for _, p := range []string{"dead", "dead too", "Q", "R"} {
			b.refuse(ask{value: p + "/1/", process: p, queue: true})
		}
		heard := b.hear("Q", "R")
		b.release("P/1/me")
		if got := harness.Receive(t, "a wake", heard); got != "Q wlock:k" {
			t.Errorf("heard %q", got)
		}
		if got := b.queue(); !slices.Equal(got, []string{"Q", "R"}) {
			t.Errorf("queue = %v; the dead are dropped, the woken stays until it leaves", got)
		}
		if got := b.pttl(b.keys[3]); b.Get(0, b.keys[3]) != "Q" || got <= 0 || got > scriptReserve*time.Millisecond {
			t.Errorf("kept for %q, for %v", b.Get(0, b.keys[3]), got)
		}
		for _, a := range []ask{
			{value: "P/2/me", process: "P"}, {value: "R/2/", process: "R", queue: true}, {value: "redsync"},
		} {
			if holder, left := b.refuse(a); holder != "" || left <= 0 || left > scriptReserve {
				t.Errorf("%+v while it is kept: holder %q, left %d", a, holder, left)
			}
		}
		if _, waiters := b.grant(ask{value: "Q/2/", process: "Q"}); waiters != 1 {
			t.Errorf("%d wait, want R alone", waiters)
		}
		if got := b.Get(0, b.keys[3]); got != "" {
			t.Errorf("it is still kept for %q", got)
		}
	})
}

// PUBLISH on a Redis Cluster counts the receivers on one server only.
func TestScripts_Release_OnARedisClusterTrustsTheFirstWaiterOnce(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/me", process: "P"})
		b.refuse(ask{value: "Q/1/", process: "Q", queue: true})
		b.refuse(ask{value: "R/1/", process: "R", queue: true})
		b.must(b.run(wakeSource+releaseSource, 4, "P/1/me", scriptReserve, "1"))
		if got := b.Get(0, b.keys[3]); got != "Q" {
			t.Errorf("kept for %q, want Q", got)
		}
		if got := b.queue(); !slices.Equal(got, []string{"R"}) {
			t.Errorf("queue = %v, want [R]", got)
		}
	})
}

func TestScripts_Leave_PassesTheTurnOn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("Q", "R", "S")
		b.grant(ask{value: "P/1/me", process: "P"})
		for _, p := range []string{"Q", "R", "S"} {
			b.refuse(ask{value: p + "/1/", process: p, queue: true})
		}
		b.leave("R") // it is not its turn: nobody else is concerned
		if got := b.queue(); !slices.Equal(got, []string{"Q", "S"}) || b.Get(0, b.keys[3]) != "" {
			t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
		}
		b.release("P/1/me")
		harness.Receive(t, "Q's wake", heard)
		b.leave("Q")
		if got := harness.Receive(t, "S's wake", heard); got != "S wlock:k" {
			t.Errorf("heard %q", got)
		}
		if got := b.queue(); !slices.Equal(got, []string{"S"}) || b.Get(0, b.keys[3]) != "S" {
			t.Errorf("queue = %v, kept for %q", got, b.Get(0, b.keys[3]))
		}
		b.leave("S")
		if got := b.queue(); len(got) != 0 || b.Get(0, b.keys[3]) != "" {
			t.Errorf("queue = %v, kept for %q; nobody is left", got, b.Get(0, b.keys[3]))
		}
		b.grant(ask{value: "P/2/me", process: "P"})
	})
}

// A process that is slow to pass its turn on does so when the key is not kept for it any more.
func TestScripts_Leave_PassesOnAnExpiredTurn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.awaited("Q", "R")
		b.release("P/1/me")
		harness.Receive(t, "Q's wake", heard)
		if err := b.Clients[0].Del(t.Context(), b.keys[3]).Err(); err != nil { // as if its time were over
			t.Fatal(err)
		}
		b.leave("Q")
		if got := harness.Receive(t, "R's wake", heard); got != "R wlock:k" {
			t.Errorf("heard %q", got)
		}
	})
}

// A turn that was taken by somebody else meanwhile, who does not look at turns, is not passed on: the key is not free.
func TestScripts_Leave_WakesNobodyWhileTheKeyIsHeld(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.hear("Q", "R")
		b.grant(ask{value: "P/1/me", process: "P"})
		b.refuse(ask{value: "Q/1/", process: "Q", queue: true})
		b.refuse(ask{value: "R/1/", process: "R", queue: true})
		b.release("P/1/me")
		b.Put(0, b.keys[0], "redsync", time.Minute)
		b.leave("Q")
		if got := b.Get(0, b.keys[3]); got != "" {
			t.Errorf("kept for %q", got)
		}
	})
}

// Each script is delivered twice in a row. What is on the node afterwards is what one delivery left, and nothing lives
// longer than one delivery may make it live.
func TestScripts_ASecondDeliveryChangesNothing(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "Q", "R")
		ctx := context.Background()
		messages := func() (n int) { // how many have come
			b.Clients[0].Publish(ctx, nodeset.Channel("P"), "end")
			for harness.Receive(t, "a message", heard) != "P end" {
				n++
			}
			return n
		}
		var told int64
		held := func() { told, _ = b.grant(ask{value: "P/1/me", process: "P"}) }
		queued := func() {
			held()
			b.refuse(ask{value: "Q/1/", process: "Q", queue: true})
			b.refuse(ask{value: "R/1/", process: "R", queue: true})
		}
		woken := func() { queued(); b.release("P/1/me") }
		for _, tc := range []struct {
			name    string
			prepare func()
			step    func() any
			again   string // the second answer where it differs
		}{
			{"acquire of a new key", func() {}, func() any {
				words, err := b.acquire(ask{value: "P/1/me", span: 7, floor: 5, process: "P"})
				return fmt.Sprint(words, err)
			}, ""},
			{"acquire of a known key", func() { held(); b.release("P/1/me") }, func() any {
				words, err := b.acquire(ask{value: "P/2/me", process: "P"})
				return fmt.Sprint(words, err)
			}, ""},
			{"acquire in turn", woken, func() any {
				words, err := b.acquire(ask{value: "Q/2/", process: "Q", queue: true})
				return fmt.Sprint(words, err)
			}, ""},
			{"acquire below boot", held, func() any {
				b.Clients[0].Del(ctx, b.keys[0])
				words, err := b.acquire(ask{value: "P/2/me", process: "P", boot: 1 << 52, floor: 5})
				return words[0] == int64(1) && err == nil
			}, ""},
			{"acquire, refused and queued", held, func() any {
				words, err := b.acquire(ask{value: "Q/1/", process: "Q", queue: true})
				return fmt.Sprint(words[0], words[2], err)
			}, ""},
			{"extend, owned", held, func() any { return fmt.Sprint(b.extend("P/1/me", scriptTTL)) }, ""},
			{"extend, healed", func() {}, func() any { return fmt.Sprint(b.extend("P/1/me", scriptTTL)) }, "[1]"},
			{"extend, taken", held, func() any { return fmt.Sprint(b.extend("Q/1/", scriptTTL)) }, ""},
			{"detach, which renews", held, func() any { return fmt.Sprint(b.handOut(told + 5)) }, ""},
			{"detach, raised meanwhile", held, func() any { return fmt.Sprint(b.handOut(told)) }, ""},
			{"attach", func() { held(); b.handOut(told + 5) }, func() any { return fmt.Sprint(b.attach("Q/1/")) }, ""},
			{"attach, taken", held, func() any { return fmt.Sprint(b.attach("Q/1/")[2]) }, ""},
			{"raise, owned", held, func() any { return fmt.Sprint(b.raiseFrom("P/1/me", told, 1<<52, 1)) }, "0"},
			{"raise, not owned", held, func() any { return fmt.Sprint(b.raise("Q/1/", 1<<52)) }, ""},
			{"release with waiters", queued, func() any { return fmt.Sprint(b.release("P/1/me")) }, "0"},
			{"release without", held, func() any { return fmt.Sprint(b.release("P/1/me")) }, "0"},
			{"release of another's", queued, func() any { return fmt.Sprint(b.release("Q/1/")) }, ""},
			{"leave in turn", woken, func() any { return fmt.Sprint(b.leave("Q")) }, ""},
			{"leave", queued, func() any { return fmt.Sprint(b.leave("R")) }, ""},
		} {
			t.Run(tc.name, func(t *testing.T) {
				b.Flush(0)
				tc.prepare()
				messages()
				first := tc.step()
				// What a second delivery may not prolong is made short.
				limits := map[string]time.Duration{b.keys[2]: scriptMaxTTL * time.Millisecond, b.keys[3]: scriptReserve * time.Millisecond}
				for _, name := range b.keys[:2] {
					if strings.HasPrefix(tc.name, "extend") && name == b.keys[0] {
						limits[name] = scriptTTL * time.Millisecond
					} else if b.pttl(name) > 0 && tc.name != "detach, which renews" {
						limits[name] = 3 * time.Second
						b.Clients[0].PExpire(ctx, name, limits[name])
					}
				}
				before := b.snapshot(0)
				want := first
				if tc.again != "" {
					want = tc.again
				}
				if tc.name == "acquire below boot" {
					words, err := b.acquire(ask{value: "P/2/me", process: "P", boot: 1 << 52, floor: 5})
					if err != nil || words[1] != b.fence() {
						t.Errorf("then %v, %v", words, err)
					}
				} else if second := tc.step(); second != want {
					t.Errorf("first %v, then %v", first, second)
				}
				if after := b.snapshot(0); after != before {
					t.Errorf("the second delivery changed\n%sto\n%s", before, after)
				}
				for name, limit := range limits {
					if got := b.pttl(name); got > limit {
						t.Errorf("%s lives for %v; at most %v", name, got, limit)
					}
				}
				if wakes, most := messages(), strings.Count(tc.name, "release with waiters")+strings.Count(tc.name, "leave in turn")+
					2*strings.Count(tc.name, "and queued"); wakes != most { // announced once more, which changes nothing
					t.Errorf("%d messages were sent, want %d", wakes, most)
				}
			})
		}
	})
}

func TestScripts_Acquire_StartsTheFenceCounterFromTheClock(t *testing.T) {
	const hour = int64(time.Hour / time.Microsecond)
	const maxTTL = int64(scriptMaxTTL) * 1000
	onOneNode(t, func(t *testing.T, b *bench) {
		second := func(at time.Time) int64 { return at.Unix() * 1_000_000 }
		now := b.now().UnixMicro()
		for _, tc := range []struct {
			name     string
			counter  int64 // 0: missing
			a        ask
			from, to func(before, after time.Time) int64 // what the span is added to
		}{
			{"missing: the floor", 0, ask{floor: now + maxTTL/2}, at(now + maxTTL/2), at(now + maxTTL/2)},
			{"missing: a floor too far ahead is cut to the node's clock and MaxTTL", 0, ask{floor: now + hour},
				func(before, _ time.Time) int64 { return before.UnixMicro() + maxTTL },
				func(_, after time.Time) int64 { return after.UnixMicro() + maxTTL }},
			{"missing: a floor that is behind is lifted to the node's second", 0, ask{floor: now - hour},
				func(before, _ time.Time) int64 { return second(before) }, func(_, after time.Time) int64 { return second(after) }},
			{"below boot: the floor", 5, ask{floor: now + maxTTL/2, boot: now}, at(now + maxTTL/2), at(now + maxTTL/2)},
			{"below boot: lifted to the second", now - hour, ask{floor: 1, boot: now - 1},
				func(before, _ time.Time) int64 { return second(before) }, func(_, after time.Time) int64 { return second(after) }},
			{"below boot, above the clock: kept", now + 2*hour, ask{floor: now, boot: now + 3*hour}, at(now + 2*hour), at(now + 2*hour)},
			{"at boot: kept", now - hour, ask{floor: now, boot: now - hour}, at(now - hour), at(now - hour)},
			{"boot not known: kept", 5, ask{floor: now}, at(5), at(5)},
			{"ahead of every clock: kept", now + 100*hour, ask{floor: now, boot: now}, at(now + 100*hour), at(now + 100*hour)},
		} {
			for _, span := range []int64{1, 64} {
				b.Flush(0)
				if tc.counter != 0 {
					b.Put(0, b.keys[1], strconv.FormatInt(tc.counter, 10), 0)
				}
				tc.a.value, tc.a.span = "P/1/", span
				before := b.now()
				fence, _ := b.grant(tc.a)
				after := b.now()
				if from, to := tc.from(before, after)+span, tc.to(before, after)+span; fence < from || fence > to {
					t.Errorf("%s, span %d: %d; want %d to %d", tc.name, span, fence, from, to)
				}
				if b.fence() != fence {
					t.Errorf("%s: reported %d, kept %d", tc.name, fence, b.fence())
				}
			}
		}
	})
}

func at(n int64) func(_, _ time.Time) int64 { return func(_, _ time.Time) int64 { return n } }

func TestScripts_Acquire_NeverLowersTheFenceCounter(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		var last int64
		rnd := rand.New(rand.NewPCG(1, 2))
		for i := range 50 {
			now := time.Now().UnixMicro()
			around := func() int64 { return now + rnd.Int64N(240e6) - 120e6 }
			a := ask{value: fmt.Sprintf("P/%d/", i), span: 1 + rnd.Int64N(64), floor: around(), boot: around()}
			fence, _ := b.grant(a)
			if fence < last+a.span {
				t.Fatalf("%+v: %d after %d", a, fence, last)
			}
			last = fence
			if to := fence + rnd.Int64N(100) - 50; rnd.IntN(2) == 0 {
				b.raise(a.value, to)
				last = max(last, to)
			}
			if b.fence() != last {
				t.Fatalf("%+v: the counter is %d, want %d", a, b.fence(), last)
			}
			b.release(a.value)
		}
	})
}

func TestScripts_Acquire_WritesNothingIfTheFenceKeyIsForeign(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		ctx := context.Background()
		refused := func(what string) {
			t.Helper()
			before := b.snapshot(0)
			words, err := b.acquire(ask{value: "P/1/me", process: "P", floor: time.Now().UnixMicro(), boot: 1 << 52})
			var reply redis.Error
			if err == nil || !errors.As(err, &reply) {
				t.Errorf("%s: %v, %v; want an error of the server", what, words, err)
			} else if strings.Contains(err.Error(), "P/1/me") {
				t.Errorf("%s: the error shows the value: %v", what, err)
			}
			if after := b.snapshot(0); after != before {
				t.Errorf("%s: the node changed from\n%sto\n%s", what, before, after)
			}
		}
		for _, text := range []string{"", " ", "abc", "-5", "1.5", "1e3", "0x10", "nan", "inf", "-inf", "12 34", "7\n"} {
			b.Flush(0)
			b.Put(0, b.keys[1], text, 0)
			refused(fmt.Sprintf("%q", text))
		}
		for _, text := range []string{"9007199254740991", "9007199254740992", "99999999999999999999", strings.Repeat("9", 400)} {
			b.Flush(0)
			b.Put(0, b.keys[1], text, 0)
			refused(text)
		}
		for i, name := range b.keys {
			b.Flush(0)
			b.Clients[0].RPush(ctx, name, "a list")
			refused(fmt.Sprintf("a list as key %d", i))
		}
	})
}

// Numbers are exact in Lua and in replies below 2^53.
func TestScripts_FencesAreExactUpToTheirBound(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.Put(0, b.keys[1], strconv.FormatInt(1<<53-3, 10), 0)
		for i := range int64(2) {
			value := fmt.Sprintf("P/%d/", i)
			if fence, _ := b.grant(ask{value: value}); fence != 1<<53-2+i || b.fence() != fence {
				t.Errorf("fence = %d, kept %d, want %d", fence, b.fence(), 1<<53-2+i)
			}
			b.release(value)
		}
		if words, err := b.acquire(ask{value: "P/3/"}); err == nil {
			t.Errorf("beyond the bound: %v", words)
		}
	})
}
