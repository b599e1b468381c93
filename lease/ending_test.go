package lease

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// slow is an heir that takes long to take in an end, as a log line or a metric
// can.
type slow time.Duration

func (slow) TakeOver(*Lease) bool { return false }
func (d slow) Over(*Lease)        { time.Sleep(time.Duration(d)) }

func TestEnding_NoReportDelaysTheLossOfAnother(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var g gate
		s := lease(t, newMemory(t, 3).open(t, &g), Config{})
		const many = 500
		var wg sync.WaitGroup
		late := make([]time.Duration, many)
		for i := range many {
			l := acquireAtOnce(t, s, fmt.Sprint("job", i), Request{Heir: slow(time.Millisecond)})
			wg.Go(func() {
				<-l.Done()
				late[i] = time.Since(l.Deadline())
			})
		}
		g.fail()
		wg.Wait()
		g.heal()
		for i, d := range late {
			if d > 0 {
				t.Fatalf("lease %d of %d ended %v after its deadline", i, many, d)
			}
		}
	})
}

func TestEnding_WhatFollowsIsDoneBeforeCloseReturns(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		var told int
		s.lose(acquireAtOnce(t, s, "first", Request{Heir: slow(time.Minute)}).t, "by a test")
		synctest.Wait() // what follows that keeps the one goroutine busy
		const many = 10 * afterAtOnce
		for i := range many {
			l := acquireAtOnce(t, s, fmt.Sprint("job", i), Request{Heir: counts{&told}})
			s.lose(l.t, "by a test")
		}
		must(t, s.Close(t.Context()))
		if told != many {
			t.Errorf("%d of %d heirs were told", told, many)
		}
	})
}

// counts is an heir that counts the ends it is notified of.
type counts struct{ n *int }

func (counts) TakeOver(*Lease) bool { return false }
func (c counts) Over(*Lease)        { *c.n++ }
