package keepalive

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/quorumlock"
)

// losses are meters that call it at each loss that they count.
type losses struct {
	noop.MeterProvider
	count func()
}

type meter struct {
	noop.Meter
	losses losses
}

type counter struct {
	noop.Int64Counter
	losses losses
}

func (l losses) Meter(string, ...metric.MeterOption) metric.Meter { return meter{losses: l} }

func (m meter) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	if name != "redlock.lock.losses" {
		return noop.Int64Counter{}, nil
	}
	return counter{losses: m.losses}, nil
}

func (c counter) Add(context.Context, int64, ...metric.AddOption) { c.losses.count() }

func TestEnding_NoReportDelaysTheLossOfAnother(t *testing.T) {
	virtually(t, func(t *testing.T) {
		var g gate
		slow := losses{count: func() { time.Sleep(time.Millisecond) }}
		s := lease(t, newMemory(t, 3).openWith(t, nodeset.Config{MeterProvider: slow}, &g), Config{})
		const many = 500
		var wg sync.WaitGroup
		late := make([]time.Duration, many)
		for i := range many {
			l := acquireAtOnce(t, s, fmt.Sprint("job", i), Request{})
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
		var counted int
		slow := losses{count: func() {
			if counted++; counted == 1 {
				time.Sleep(time.Minute)
			}
		}}
		s := lease(t, newMemory(t, 3).openWith(t, nodeset.Config{MeterProvider: slow}, &gate{}), Config{})
		s.lose(acquireAtOnce(t, s, "first", Request{}).t, quorumlock.Reason{Text: "by a test"})
		synctest.Wait() // what follows that keeps the one goroutine busy
		const many = 10 * afterAtOnce
		for i := range many {
			l := acquireAtOnce(t, s, fmt.Sprint("job", i), Request{})
			s.lose(l.t, quorumlock.Reason{Text: "by a test"})
		}
		must(t, s.Close(t.Context()))
		if counted != 1+many {
			t.Errorf("%d of %d losses were counted", counted, 1+many)
		}
	})
}
