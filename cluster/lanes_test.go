package cluster

import (
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"
)

var yieldScript = NewScript("yield", `return 1`).Yielding()

// taken is what a stream yields, and lets come in after its first batch.
func taken(s *stream, after func()) (all [][]call) {
	s.batches(func(calls []call) bool {
		all = append(all, append([]call(nil), calls...))
		if len(all) == 1 && after != nil {
			after()
		}
		return true
	})
	return all
}

func TestUrgentCommandsWaitForOneBatchOfYieldingOnesAtMost(t *testing.T) {
	s := &stream{bell: make(chan struct{}, 1)}
	lock, move := call{Command: pingScript.Command(nil)}, call{Command: yieldScript.Command([]string{"key"})}
	for range 1000 {
		s.put(move, 1000)
	}
	if !s.put(lock, 1) {
		t.Error("what yields takes the room of what does not")
	}
	if s.put(lock, 1) || s.put(move, 1000) {
		t.Error("more than the limit was taken")
	}
	all := taken(s, func() { s.put(lock, 2); s.close() })
	if len(all) < 4 || all[0][0].yields() || all[2][0].yields() {
		t.Fatalf("an urgent command was not sent next; %d batches", len(all))
	}
	for i := range 2 {
		if len(all[2*i]) != 1 || len(all[2*i+1]) > maxYieldBatch {
			t.Errorf("batches of %d and %d", len(all[2*i]), len(all[2*i+1]))
		}
	}
	sum := 0
	for _, some := range all {
		s.answered(some)
		sum += len(some)
	}
	if sum != 1002 || s.queued() != 0 {
		t.Errorf("%d commands were sent, %d are queued", sum, s.queued())
	}
}

func TestABatchIsBoundedInWords(t *testing.T) {
	for _, script := range []*Script{pingScript, yieldScript} {
		s := &stream{bell: make(chan struct{}, 1)}
		most := maxWords
		if script.yields {
			most = maxYieldWords
		}
		long := call{Command: script.Command(make([]string, 300))}
		for range 100 {
			s.put(long, 1000)
		}
		s.put(call{Command: script.Command(make([]string, 2*maxWords))}, 1000)
		s.close()
		all, sum := taken(s, nil), 0
		for _, some := range all {
			sum += len(some)
			if words := len(some) * len(long.words); len(some) > 1 && words > most {
				t.Errorf("%d words in one batch", words)
			}
		}
		if sum != 101 || len(all[len(all)-1]) != 1 {
			t.Errorf("%d commands were sent", sum)
		}
	}
}

// silent is a connection that gives size bytes, some each step, and then nothing.
type silent struct {
	net.Conn
	size, some int
	step       time.Duration
	deadline   time.Time
}

func (c *silent) SetReadDeadline(t time.Time) error { c.deadline = t; return nil }

func (c *silent) Read(b []byte) (int, error) {
	next := time.Now().Add(c.step)
	if c.size == 0 || next.After(c.deadline) {
		time.Sleep(time.Until(c.deadline))
		return 0, io.ErrNoProgress
	}
	time.Sleep(c.step)
	n := min(len(b), c.some, c.size)
	c.size -= n
	return n, nil
}

func TestALargeReplyMayTakeLongerThanSilence(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for _, tc := range []struct {
		what       string
		size, some int
		step       time.Duration
		whole      bool
		most       time.Duration
	}{
		{"at twice the pace", 64 << 20, pace / 50, 10 * time.Millisecond, true, 5 * time.Second},
		{"at half the pace", 64 << 20, pace / 200, 10 * time.Millisecond, false, 2*timeout + time.Second},
		{"a few bytes at a time", 64 << 20, 10, 10 * time.Millisecond, false, timeout},
		{"silent after the first half", 4 << 20, pace / 50, 10 * time.Millisecond, true, 300 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			inner := &silent{size: tc.size, some: tc.some, step: tc.step}
			c := &pacedConn{Conn: inner, timeout: timeout}
			began := time.Now()
			c.SetReadDeadline(began.Add(timeout))
			b := make([]byte, 1<<20)
			left := tc.size
			for left > 0 {
				n, err := c.Read(b)
				if left -= n; err != nil {
					break
				}
			}
			if whole := left == 0; whole != tc.whole || time.Since(began) > tc.most {
				t.Errorf("%s: %d bytes are missing after %v", tc.what, left, time.Since(began))
			}
			if tc.whole { // the silence after it is noticed
				began = time.Now()
				if _, err := c.Read(b); err == nil || time.Since(began) > timeout {
					t.Errorf("%s: silence was noticed after %v", tc.what, time.Since(began))
				}
			}
		})
	}
}
