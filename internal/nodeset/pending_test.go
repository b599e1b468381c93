package nodeset

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// refusableScript counts that it was asked, and refuses, as a server does that
// takes no writes, while the key "refuse" is there.
var refusableScript = NewScript("refusable", `redis.call('INCR', 'asked')
if redis.call('EXISTS', 'refuse') == 1 then return redis.error_reply('NOREPLICAS Not enough good replicas to write.') end
return redis.call('RPUSH', KEYS[1], ARGV[1])`)

// refusing has a node of s refuse, until admit is called.
func refusing(t *testing.T, s harness.Set) (client *redis.Client, admit func(), asked func() int) {
	t.Helper()
	client = harness.Client(t, s, 0)
	if err := client.Set(t.Context(), "refuse", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	admit = func() {
		t.Helper()
		if err := client.Del(t.Context(), "refuse").Err(); err != nil {
			t.Fatal(err)
		}
	}
	asked = func() int { n, _ := strconv.Atoi(client.Get(t.Context(), "asked").Val()); return n }
	return client, admit, asked
}

// refusedDebts is how many pending commands wait to be sent again.
func (n *Node) refusedDebts() (count int, reminding bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.refused.pending), n.refused.reminding
}

// A server without its replicas refuses writes on a connection that works.
func TestPending_ARefusedCommandIsRetriedUntilItIsAccepted(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		client, admit, asked := refusing(t, s)
		const debts = 3*reminders + 1
		for i := range debts {
			until := time.Time{}
			if i%2 == 0 {
				until = time.Now().Add(time.Hour)
			}
			n.SendLater(refusableScript.Command([]string{"list"}, i), until)
		}
		harness.Eventually(t, "the debts to be refused again", func() bool { return asked() > 2*debts })
		if got := client.LLen(t.Context(), "list").Val(); got != 0 {
			t.Fatalf("%d debts were taken", got)
		}
		admit()
		harness.Eventually(t, "every debt to be taken, and nothing to be sent any more", func() bool {
			count, reminding := n.refusedDebts()
			return count == 0 && !reminding && client.LLen(t.Context(), "list").Val() >= debts
		})
	})
}

func TestPending_ARefusedCommandEndsWithItsTime(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	n := open(t, s).Nodes()[0]
	_, _, asked := refusing(t, s)
	n.SendLater(refusableScript.Command([]string{"list"}, "v"), time.Now().Add(100*time.Millisecond))
	harness.Eventually(t, "its time to be over", func() bool {
		count, reminding := n.refusedDebts()
		return asked() > 0 && count == 0 && !reminding
	})
}

func TestPending_ExpiredCommandsDelayNoOthers(t *testing.T) {
	now := time.Now()
	var r refusals
	for i := range 10 {
		o := pending{until: now.Add(time.Minute)}
		if i < 6 {
			o.until = now
		}
		r.pending = append(r.pending, o)
	}
	if due := r.take(3, now); len(due) != 3 || len(r.pending) != 1 {
		t.Errorf("%d are sent and %d kept, want 3 and 1", len(due), len(r.pending))
	}
}

func TestPending_ARefusedCommandWithoutADeadlineEndsWithMaxTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &Node{c: &Set{cfg: Config{MaxTTL: time.Minute}}}
		n.refused.reminding = true // nothing is sent
		n.remind(pending{})
		if left := time.Until(n.refused.pending[0].until); left != time.Minute {
			t.Errorf("it is sent for %v more, want MaxTTL, 1m0s", left)
		}
	})
}

// A reply that no script gives, such as nothing, is not taken for done.
func TestPending_IsSettledByANumberOnly(t *testing.T) {
	t.Parallel()
	n := open(t, harness.Embedded(t, 1)).Nodes()[0]
	for _, tt := range []struct {
		reply any
		err   error
		kept  int
	}{
		{int64(0), nil, 0}, {int64(2), nil, 0}, {nil, wrongType{}, 0}, {nil, ErrClosed, 0},
		{nil, nil, 1}, {"OK", nil, 1}, {[]any{int64(1)}, nil, 1}, {true, nil, 1}, {nil, redis.Nil, 1},
		{nil, reply("NOREPLICAS Not enough"), 1}, {nil, reply("READONLY You can't write"), 1}, {nil, reply("MISCONF Redis is configured"), 1},
		{nil, reply("ERR Error running script: @user_script: 6: -NOREPLICAS Not enough"), 1}, {nil, reply("NOPERM no"), 1},
		{nil, reply("ERR Error running script: @user_script: 6: -WRONGTYPE Operation"), 0},
	} {
		n.mu.Lock()
		n.refused = refusals{reminding: true} // nothing is sent
		n.mu.Unlock()
		pending{cmd: pushScript.Command([]string{"list"}, "v")}.Receive(n, tt.reply, tt.err)
		if kept, _ := n.refusedDebts(); kept != tt.kept {
			t.Errorf("after %#v, %v it keeps %d debts, want %d", tt.reply, tt.err, kept, tt.kept)
		}
	}
}

func TestPending_RefusedCommandsAreBounded(t *testing.T) {
	t.Parallel()
	n := open(t, harness.Embedded(t, 1)).Nodes()[0]
	n.mu.Lock()
	n.refused.reminding = true // nothing is sent
	n.mu.Unlock()
	for i := range maxPending + 10 {
		pending{cmd: pushScript.Command(nil, i)}.Receive(n, nil, reply("READONLY"))
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if all := n.refused.pending; len(all) != maxPending || all[0].cmd.words[3] != 10 {
		t.Errorf("%d debts from %v on, want the newest %d", len(all), all[0].cmd.words[3], maxPending)
	}
}

// A node that refuses is not sent all that it is owed again and again; one that
// takes some is soon sent the rest.
func TestPending_ANodeThatRefusesIsSentAFewAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		c := &Set{cfg: Config{MaxTTL: 24 * time.Hour}, ctx: ctx}
		defer c.wg.Wait()
		defer cancel()
		n := &Node{c: c}
		n.down.Store(new(downtime)) // what is sent is kept
		const debts = 1000 * reminders
		for range debts {
			n.remind(pending{})
		}
		sent := func(settled int) int {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.refused.settled += settled
			return len(n.pending)
		}
		time.Sleep(time.Minute)
		const most = 60 * 3 // with a pace of a second, its jitter, and its beginning
		if got := sent(0); got < 30*reminders || got > most*reminders {
			t.Errorf("%d debts are sent again within a minute to a node that takes none", got)
		}
		for range 10 {
			sent(1)
			time.Sleep(2 * time.Second)
		}
		if got := sent(0); got != debts {
			t.Errorf("%d of %d debts are sent to a node that takes them", got, debts)
		}
	})
}
