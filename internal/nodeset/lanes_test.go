package nodeset

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

var yieldScript = NewScript("yield", `return 1`).Yielding()

// taken is what a stream yields until it is closed and empty.
func taken(s *stream) (all [][]call) {
	s.batches(func(calls []call) bool {
		all = append(all, append([]call(nil), calls...))
		return true
	})
	return all
}

func TestStream_BulkWorkTakesNoRoomOfUrgentCommands(t *testing.T) {
	t.Parallel()
	n := &Node{streams: newStreams()}
	lock, move := call{Command: pingScript.Command(nil)}, call{Command: yieldScript.Command([]string{"key"})}
	for range 1000 {
		n.stream(&move).put(move, 1000)
	}
	if !n.stream(&lock).put(lock, 1) {
		t.Error("what yields takes the room of what does not")
	}
	if n.stream(&lock).put(lock, 1) || n.stream(&move).put(move, 1000) {
		t.Error("more than the limit was taken")
	}
	sum := 0
	for _, s := range n.streams {
		s.close()
		for _, some := range taken(s) {
			if s == n.streams[yielding] != some[0].yields() || len(some) > s.limits.calls {
				t.Errorf("a batch of %d", len(some))
			}
			s.answered(some)
			sum += len(some)
		}
	}
	if sum != 1001 || n.queued() != 0 {
		t.Errorf("%d commands were sent, %d are queued", sum, n.queued())
	}
}

// holding is what a receiver does with the goroutine of a stream until the test lets it go on.
type holding struct{ held, goOn chan struct{} }

func (h holding) Receive(*Node, any, error) {
	close(h.held)
	<-h.goOn
}

// A batch of bulk work is on its way for as long as the test likes.
func TestStream_UrgentCommandsDoNotWaitForBulkWork(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		h := holding{make(chan struct{}), make(chan struct{})}
		defer close(h.goOn)
		n.Run(yieldScript, nil, nil, h)
		harness.Receive(t, "the bulk work to be under way", h.held)
		run(t, n, pingScript, nil)
	})
}

func TestBatch_IsBoundedInWords(t *testing.T) {
	t.Parallel()
	for i, script := range []*Script{urgent: pingScript, yielding: yieldScript} {
		s := newStreams()[i]
		long := call{Command: script.Command(make([]string, 300))}
		for range 100 {
			s.put(long, 1000)
		}
		s.put(call{Command: script.Command(make([]string, 2*urgentLimits.words))}, 1000)
		s.close()
		all, sum := taken(s), 0
		for _, some := range all {
			sum += len(some)
			if words := len(some) * len(long.words); len(some) > 1 && words > s.limits.words {
				t.Errorf("%d words in one batch", words)
			}
		}
		if sum != 101 || len(all[len(all)-1]) != 1 {
			t.Errorf("%d commands were sent", sum)
		}
	}
}

func TestBatch_OfBulkWorkIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	s := newStreams()[yielding]
	text := strings.Repeat("x", 1<<20)
	for _, size := range []int{1 << 10, 100 << 10, 1 << 20, 10, 10} {
		part := text[:size]
		for _, arg := range []any{part, &part, []byte(part)} {
			for range 5 {
				s.put(call{Command: yieldScript.Command(nil, arg)}, 1000)
			}
		}
	}
	s.close()
	all, sum := taken(s), 0
	for _, some := range all {
		bytes := 0
		for i := range some {
			bytes += some[i].size()
		}
		if sum += len(some); bytes > bulkLimits.bytes && len(some) > 1 {
			t.Errorf("%d bytes in a batch of %d", bytes, len(some))
		}
	}
	if sum != 75 || len(all) < 18 || len(all) > 30 {
		t.Errorf("%d commands in %d batches", sum, len(all))
	}
}

// answers are replies, of so many bytes each.
func replies(sizes ...int) (cmds []*redis.Cmd) {
	for _, size := range sizes {
		cmd := redis.NewCmd(context.Background(), "get")
		cmd.SetVal([]any{strings.Repeat("x", size/2), []any{strings.Repeat("x", size-size/2), nil}})
		cmds = append(cmds, cmd)
	}
	return cmds
}

func TestBatch_ShrinksAsRepliesGrow(t *testing.T) {
	t.Parallel()
	s := newStreams()
	for _, step := range []struct{ reply, want int }{
		{100, 2 * firstCalls}, {100, 4 * firstCalls}, {100, 8 * firstCalls}, {100, 16 * firstCalls}, {100, bulkLimits.calls},
		{100, bulkLimits.calls}, {100 << 10, 10}, {2 << 20, 1}, {100, 2}, {100, 4}, {100 << 10, 8}, {100 << 10, 10}, {1, 20},
	} {
		s[yielding].learn(replies(1, step.reply, 1))
		s[urgent].learn(replies(step.reply))
		if s[yielding].limits.calls != step.want {
			t.Errorf("%d commands after an answer of %d bytes, want %d", s[yielding].limits.calls, step.reply, step.want)
		}
	}
	lost := replies(1, 1)
	lost[1].SetErr(io.EOF)
	for _, want := range []int{10, 5, 2, 1, 1} {
		if s[yielding].learn(lost); s[yielding].limits.calls != want {
			t.Errorf("%d commands after a batch that was lost, want %d", s[yielding].limits.calls, want)
		}
	}
	s[yielding].limits.calls = 20
	if s[yielding].learn(nil); s[urgent].limits != urgentLimits || s[yielding].limits.calls != 20 {
		t.Errorf("%+v and %+v", s[urgent].limits, s[yielding].limits)
	}
}

// believed reports whether the node is not being asked whether it is there.
func (n *Node) believed() bool {
	n.doubts.mu.Lock()
	defer n.doubts.mu.Unlock()
	return !n.doubts.asked
}

// An answer that does not come in time is large, or the node is away.
func TestBreaker_ALateReplyDoesNotTripForANodeThatAnswersPing(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 15 * time.Second })
		n := c.Nodes()[0]
		late := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
		s.Pause(0)
		if n.doubt(late); !n.Up() {
			t.Error("it is down before it was asked")
		}
		s.Resume(0)
		harness.Eventually(t, "the node to be believed", n.believed)
		if !n.Up() {
			t.Error("a node that answers is down")
		}
		before := time.Now()
		if !n.Incarnation().Back.IsZero() {
			t.Errorf("a read that was not answered counts as if the node had been out of reach: %+v", n.Incarnation())
		}
		late.Op = "write"
		if n.suspect(late, true); n.Incarnation().Back.Before(before) || !n.Up() {
			t.Errorf("what a node has missed is not told: %+v, up %v", n.Incarnation(), n.Up())
		}
		harness.Eventually(t, "the node to be believed again", n.believed)
		s.Stop(0)
		n.doubt(late)
		harness.Eventually(t, "the node to be down", func() bool { return !n.Up() && n.believed() })
	})
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		for _, err := range []error{errors.New("reset"), &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}, &net.OpError{Op: "read", Err: os.ErrClosed}} {
			n := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 15 * time.Second }).Nodes()[0]
			s.Pause(0)
			n.doubt(err)
			if n.Up() {
				t.Errorf("%v is taken for a large answer", err)
			}
			s.Resume(0)
		}
	})
}

// A node that answers a PING and nothing else is of no use.
func TestBreaker_TripsForANodeThatIsLateRepeatedly(t *testing.T) {
	t.Parallel()
	n := open(t, harness.Embedded(t, 1), func(cfg *Config) { cfg.NodeTimeout = 15 * time.Second }).Nodes()[0]
	late := &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}
	miss := func(together int) {
		t.Helper()
		n.doubts.mu.Lock()
		n.doubts.since = time.Time{}
		n.doubts.mu.Unlock()
		for range together {
			n.doubt(late)
		}
		harness.Eventually(t, "the node to be believed", n.believed)
	}
	for _, answer := range []func(){
		func() { n.Ask(t.Context(), redis.NewCmd(t.Context(), "get", "key")) },
		func() { o := newOnce(); n.RunOutOfBand(pingScript, nil, nil, o); o.wait(t) },
	} {
		for range maxLate - 1 {
			if miss(maxLate); !n.Up() || !n.Incarnation().Back.IsZero() {
				t.Fatal("it was down before it was late often enough")
			}
		}
		answer()
	}
	for range maxLate - 1 {
		miss(1)
	}
	if miss(1); n.Incarnation().Back.IsZero() && n.Up() {
		t.Error("it is up although it is always late")
	}
}

// What is not answered after a PING was sent may be done after the PING was answered.
func TestBreaker_ProbesAgainForWhatWasMissedMeanwhile(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	n := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 15 * time.Second }).Nodes()[0]
	late := &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded}
	s.Pause(0)
	n.doubt(late)
	n.suspect(late, true)
	told := n.Incarnation().Back
	believed{}.Receive(n, nil, nil) // the answer to the PING that did not know of the miss
	if n.believed() || !n.Incarnation().Back.After(told) {
		t.Errorf("believed %v, back %v, which was %v", n.believed(), n.Incarnation().Back, told)
	}
	told = n.Incarnation().Back
	believed{}.Receive(n, nil, nil)
	if !n.believed() || !n.Incarnation().Back.After(told) {
		t.Errorf("believed %v, back %v, which was %v", n.believed(), n.Incarnation().Back, told)
	}
	s.Resume(0)
}

// A batch of bulk work may be late because it is large. Renewals of locks go on meanwhile.
func TestBreaker_ALateBatchOfBulkWorkDoesNotTrip(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	var way deaf
	n := through(t, s, way.dial, 500*time.Millisecond).Nodes()[0]
	for _, script := range []*Script{yieldScript, lookScript, pingScript} {
		ran(t, n, script, nil)
	}
	began := time.Now()
	for what, ask := range map[string]func(*Script) error{
		"stream": func(s *Script) error { return run(t, n, s, nil).err },
		"aside":  func(s *Script) error { o := newOnce(); n.RunOutOfBand(s, nil, nil, o); return o.wait(t).err },
		"ask":    func(s *Script) error { _, err := n.AskScript(t.Context(), s, nil, nil); return err },
	} {
		for _, script := range []*Script{lookScript, yieldScript} {
			before := n.Incarnation().Back
			way.to.Store(true)
			if err := ask(script); !lost(err) {
				harness.Must(t, began, err)
				t.Fatalf("%s: %s was answered: %v", what, script.Name(), err)
			}
			harness.Eventually(t, "the node to be believed", n.believed)
			if back := n.Incarnation().Back; !n.Up() || back.After(before) == script.reads {
				harness.Missed(t, began, "%s: up %v, last missed something at %v after %s", what, n.Up(), back, script.Name())
			}
			harness.Must(t, began, ask(script))
		}
	}
}

var lookScript = NewScript("look", `return 2`).Yielding().ReadOnly()

// deaf keeps from its node what is a yieldScript or a lookScript, once after it was told to.
type deaf struct{ to atomic.Bool }

func (d *deaf) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, addr)
	return deafened{conn, d}, err
}

type deafened struct {
	net.Conn
	by *deaf
}

func (c deafened) Write(b []byte) (int, error) {
	if text := string(b); (strings.Contains(text, yieldScript.hash) || strings.Contains(text, lookScript.hash)) && c.by.to.CompareAndSwap(true, false) {
		return len(b), nil
	}
	return c.Conn.Write(b)
}
