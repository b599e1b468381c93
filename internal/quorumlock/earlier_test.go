package quorumlock

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// Clients of the version before transactions, retention and today's rule for bumps:
// their scripts without the comments, and their values.

//go:embed testdata/earlier/*.lua
var earlierScripts embed.FS

// earlier is a process of the earlier version. It acquires from all nodes of a rig,
// which all have to answer.
type earlier struct {
	*rig
	process string
	keys    names
	number  int
}

func (e *earlier) run(i int, script string, keys int, args ...any) any {
	e.t.Helper()
	source := ""
	for _, name := range strings.Split(script, "+") {
		text, err := earlierScripts.ReadFile("testdata/earlier/" + name + ".lua")
		must(e.t, err)
		source += string(text)
	}
	reply, err := e.Clients[i].Eval(context.Background(), source, e.keys[:keys], args...).Result()
	must(e.t, err)
	return reply
}

// acquire makes one attempt, which is queued where it is refused. The value is ""
// if a node refused.
func (e *earlier) acquire() (value string, token int64) {
	e.t.Helper()
	e.number++
	value = fmt.Sprintf("%s/%x/host:1/earlier", e.process, time.Now().UnixMicro()+int64(e.number))
	fences := make([]int64, e.Len())
	granted := 0
	for i := range fences {
		words := e.run(i, "acquire", 4, value, lasting.Milliseconds(), 1, time.Now().UnixMicro(), e.process, scriptRetention, scriptMaxTTL, 0, "1").([]any)
		if words[0] == int64(1) {
			granted++
			fences[i] = words[1].(int64)
			token = max(token, fences[i])
		}
	}
	if granted < e.Len() {
		for i := range fences {
			e.run(i, "wake+release", 4, value, 0, "")
		}
		return "", 0
	}
	for i, fence := range fences {
		if fence < token && e.run(i, "bumpfence", 2, value, token, scriptRetention) != int64(1) {
			e.t.Fatalf("node %d refuses the bump to %d", i, token)
		}
	}
	return value, token
}

func (e *earlier) release(value string) {
	e.t.Helper()
	for i := range e.Len() {
		if got := e.run(i, "wake+release", 4, value, scriptReserve, ""); got != int64(1) {
			e.t.Errorf("node %d answers %v to the release by the earlier version", i, got)
		}
	}
}

// wakes is what arrives for a process.
func (r *rig) wakes(process string) *letters {
	r.t.Helper()
	all := &letters{came: make(chan string, 100)}
	for _, client := range r.Clients {
		sub := client.Subscribe(context.Background(), nodeset.Channel(process))
		_, err := sub.Receive(context.Background())
		must(r.t, err)
		r.t.Cleanup(func() { _ = sub.Close() })
		go func() {
			for m := range sub.Channel() {
				all.came <- m.Payload
			}
		}()
	}
	return all
}

// woken receives a wake of each node, and the announcements that come late.
func (r *rig) woken(by *letters) {
	r.t.Helper()
	for wakes := 0; wakes < r.Len(); {
		switch got := harness.Receive(r.t, "the wake", by.came); got {
		case "wlock:k":
			wakes++
		case "qlock:k", "plock:k": // which it does not know
		default:
			r.t.Fatalf("it is sent %q", got)
		}
	}
}

// A fleet is rolled: processes of both versions lock one key, in turns. They exclude
// each other, tokens grow, and a release of either wakes a waiter of the other.
func TestEarlierVersion_SharesKeysWithThisOne(t *testing.T) {
	onNodes(t, 3, func(t *testing.T, r *rig) {
		ctx := t.Context()
		c := r.open()
		red, mail := r.redlock(c, Config{Owner: "today"}), &letters{came: make(chan string, 100)}
		harness.Receive(t, "the mailbox", c.Listen(mail))
		old := &earlier{rig: r, process: strings.Repeat("E", processLen), keys: namesOf("lock:k")}
		wakes := r.wakes(old.process)
		last := r.seen(red, "k")
		for turn := range 6 {
			request := Request{First: turn%2 == 0, Retains: turn%3 == 0, Queue: true, TokenBlock: 1 + turn*31}
			h := acquireEverywhere(t, red, "k", request)
			if h.Token() <= last {
				t.Fatalf("token %d of this version after %d", h.Token(), last)
			}
			last = lastToken(h)
			h.Dequeue(false)
			if value, _ := old.acquire(); value != "" {
				t.Fatal("the earlier version acquires a key that this one holds")
			}
			for range r.Len() {
				if got := harness.Receive(t, "the announcement", mail.came); got != "qlock:k" {
					t.Errorf("this version is sent %q", got)
				}
			}
			must(t, h.ExtendNow(ctx, lasting))
			must(t, h.Release(ctx))
			r.woken(wakes)
			value, token := old.acquire()
			if value == "" || token <= last {
				t.Fatalf("the earlier version acquires %q with token %d after %d", value, token, last)
			}
			last = token
			for i := range r.Len() { // it has won, and leaves the queues
				old.run(i, "wake+leave", 4, old.process, 0, "", "")
				if got := old.run(i, "extend", 1, value, lasting.Milliseconds()).([]any); got[0] != int64(1) {
					t.Errorf("node %d answers %v to a renewal by the earlier version", i, got)
				}
			}
			request.First = false // after a transaction it is queued by the nodes that decide only
			_, err := red.Acquire(ctx, "k", request)
			var held *NotAcquiredError
			if !errors.As(err, &held) || held.Holder != "earlier" || MayBeRetained(err) {
				t.Fatalf("this version, beside the earlier one: %v", err)
			}
			in, err := red.Inspect(ctx, "k")
			if must(t, err); in.Holder.Name != "earlier" || in.Holder.Host != "host" || in.Token < token {
				t.Errorf("this version sees %+v, of token %d", in, token)
			}
			harness.Eventually(t, "this version is queued", func() bool { return len(r.Having("{lock:k}:queue")) == r.Len() })
			old.release(value)
			r.woken(mail)
		}
		red.LeaveLock("lock:k")
		r.goneEverywhere(c, "lock:k")
	})
}
