package nodeset

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// voters is a set of three nodes, all of which vote.
func voters(t *testing.T) *Set {
	t.Helper()
	c := bareCluster(time.Now(), 3)
	for _, n := range c.nodes {
		m := carries(n.name, recordOf(c))
		n.saw(m.String())
	}
	c.reckon()
	if h := c.Health(); h.Err != nil || h.Spare != 1 || !h.Since.IsZero() {
		t.Fatalf("health is %+v", h)
	}
	return c
}

func TestHealth_CountsFromWhenTheQuorumWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := voters(t)
		down := func(i int) {
			c.nodes[i].down.Store(&downtime{err: errors.New("cut off"), since: time.Now()})
			c.noteQuorum(c.spare())
		}
		down(0)
		time.Sleep(time.Minute)
		if h := c.Health(); h.Err != nil || h.Spare != 0 {
			t.Fatalf("with two of three: %+v", h)
		}
		lost := time.Now()
		down(1)
		time.Sleep(time.Minute)
		h := c.Health()
		var missing *QuorumError
		if !errors.As(h.Err, &missing) || missing.Got != 1 || missing.Need != 2 || len(missing.Nodes) != 2 || !h.Since.Equal(lost) || h.Spare != -1 {
			t.Fatalf("with one of three: %+v", h)
		}
		c.nodes[1].down.Store(nil)
		if h := c.Health(); h.Err != nil || !h.Since.IsZero() {
			t.Fatalf("with two again: %+v", h)
		}
		again := time.Now()
		down(1)
		if h := c.Health(); !h.Since.Equal(again) {
			t.Errorf("the second outage counts from %v, not %v", h.Since, again)
		}
	})
}

// Attempts that find no quorum count while they go on, and from the first one
// after a success.
func TestHealth_AttemptsWithoutAQuorumCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := voters(t)
		refusal := &QuorumError{Op: "acquire", Need: 2}
		c.Attempted(refusal)
		c.Attempted(nil)
		if h := c.Health(); h.Err != nil {
			t.Fatalf("after a success: %+v", h)
		}
		began := time.Now()
		for range 10 {
			c.Attempted(refusal)
			time.Sleep(10 * time.Second)
		}
		if h := c.Health(); h.Err != error(refusal) || !h.Since.Equal(began) || h.Spare != 1 {
			t.Fatalf("after attempts from %v: %+v", began, h)
		}
		time.Sleep(c.cfg.MaxTTL)
		if h := c.Health(); h.Err != nil {
			t.Fatalf("a MaxTTL after the last attempt: %+v", h)
		}
		anew := time.Now()
		c.Attempted(refusal)
		if h := c.Health(); !h.Since.Equal(anew) {
			t.Fatalf("attempts from %v after a pause count from %v", anew, h.Since)
		}
	})
}
