package waitqueue

import (
	"math/rand"
	"time"
)

// Contender is one goroutine that asks the nodes for a key until it acquires it or
// gives up. The messages of the nodes that it missed while it asked are gathered
// here.
type Contender struct {
	// Notified gets a value when there is news.
	Notified chan struct{}
	// Won is set before Leave by the goroutine that acquired the key.
	Won bool

	// Guarded by Queues.mu.
	q       *Queue
	shared  bool     // it reads
	came    int64    // its number in the order of arrivals
	refusal error    // why the last attempt failed
	retry   bool     // since the last attempt began: it should ask again, whatever the nodes say
	sources []source // by node; nil until one of them has news
	pauses  bool     // of a key with a limit: between two attempts
	handed  any      // and the lease that was handed over to it meanwhile; nil: none was
	slot    int      // and the slot that a node has named since the last attempt, counted from 1
}

// source is what a contender makes of one node's news. One node must not have it
// ask as often as that node likes, because each attempt asks all nodes: after an
// attempt for news that only a minority sent, and that was refused, the node alone
// cannot cause another for a while, which doubles each time. Its news still counts
// towards a quorum.
type source struct {
	turn    bool      // since the last attempt began: it said that this process's turn has come
	gap     bool      // since the last attempt began: messages may have been lost, and it asks for that
	futile  int       // attempts it alone was the reason of, since a quorum agreed with it
	doubted time.Time // until then it causes no attempt alone
}

// MaxDoubt is how long a node that was wrong causes no attempt alone, at the most.
// Contenders ask by a timer as well.
const MaxDoubt = time.Second

func (qs *Queues) sourceLocked(c *Contender, node int) *source {
	if c.sources == nil {
		c.sources = make([]source, qs.nodes)
	}
	return &c.sources[node]
}

// reset makes c as new, for another key.
func (c *Contender) reset() {
	clear(c.sources)
	*c = Contender{Notified: c.Notified, sources: c.sources}
	c.drain()
}

func (c *Contender) drain() {
	select {
	case <-c.Notified:
	default:
	}
}

func (c *Contender) retryLocked() {
	c.retry = true
	c.notify()
}

func (c *Contender) notify() {
	select {
	case c.Notified <- struct{}{}:
	default:
	}
}

// DropNews is called before each attempt. It drops the news that came before, and
// doubts the nodes that had news when no quorum had, for reserved at least, the
// time for which a node reserves a key for the process whose turn it is. If the
// attempt succeeds, the wait is over.
func (qs *Queues) DropNews(c *Contender, now time.Time, reserved time.Duration) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	agreed := qs.missingLocked(c) == 0
	for i := range c.sources {
		from := &c.sources[i]
		switch {
		case from.turn && agreed:
			from.futile = 0
		case from.turn || from.gap:
			from.doubted = now.Add(min(reserved<<min(from.futile, 16), MaxDoubt) + jitter())
			from.futile++
		}
		from.turn, from.gap = false, false
	}
	c.retry = false
	c.drain()
}

// jitter keeps contenders from asking at one moment. Its source is the one of
// math/rand, which a simulation can seed.
func jitter() time.Duration { return time.Duration(rand.Int63n(int64(100 * time.Microsecond))) }

// Refused keeps why an attempt of c failed, for LastRefusal.
func (qs *Queues) Refused(c *Contender, why error) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	c.refusal = why
}

// missingLocked is how many more nodes have to say that it is c's turn to make a
// quorum.
func (qs *Queues) missingLocked(c *Contender) int {
	missing := qs.quorum
	for i := range c.sources {
		if c.sources[i].turn {
			missing--
		}
	}
	return max(missing, 0)
}

// Missing is how many more nodes have to say that it is c's turn before it should
// ask at once, and the time before which those that have said so, or whose messages
// may have been lost, are not worth an attempt. retry says that it should ask at
// once whatever they say.
func (qs *Queues) Missing(c *Contender) (missing int, doubted time.Time, retry bool) {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if c.retry {
		return 0, time.Time{}, true
	}
	found := false
	for i := range c.sources {
		if from := &c.sources[i]; (from.turn || from.gap) && (!found || from.doubted.Before(doubted)) {
			found, doubted = true, from.doubted
		}
	}
	return qs.missingLocked(c), doubted, false
}
