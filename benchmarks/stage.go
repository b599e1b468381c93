//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/benchmarks/internal/turn"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

const nodeCount = 5

// contender is what takes a turn: a library, in the driver program that runs it.
type contender struct {
	library string
	driver  string // path
}

// stage is where one turn takes place: new servers and new driver processes, so
// that no turn profits from what another one left behind.
type stage struct {
	ctx       context.Context
	contender contender
	duration  time.Duration // of a turn
	nodes     *redisserver.Nodes
	clients   map[int]*redis.Client // of the nodes that are not frozen
	drivers   []*driver
}

// take runs one turn of a workload.
func take(ctx context.Context, w workload, c contender, duration time.Duration) (s turn.Sample, err error) {
	nodes, err := redisserver.Start(nodeCount, redisserver.Options{})
	if err != nil {
		return s, err
	}
	st := &stage{ctx: ctx, contender: c, duration: duration, nodes: nodes, clients: map[int]*redis.Client{}}
	defer st.close()
	for i, u := range nodes.URLs() {
		o, err := redis.ParseURL(u)
		if err != nil {
			return s, err
		}
		o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		st.clients[i] = redis.NewClient(o)
	}
	s, err = w.turn(st)
	if ctx.Err() != nil {
		return s, context.Cause(ctx)
	}
	return s, err
}

func (s *stage) close() {
	for _, d := range s.drivers {
		d.kill()
	}
	for _, c := range s.clients {
		_ = c.Close()
	}
	s.nodes.Close()
}

// open starts a driver and has it open the contender's library.
func (s *stage) open(o turn.Open) (*driver, error) {
	o.Library, o.URLs = s.contender.library, s.nodes.URLs()
	d, err := startDriver(s.ctx, s.contender.driver)
	if err != nil {
		return nil, err
	}
	s.drivers = append(s.drivers, d)
	_, err = d.execute(turn.Order{Open: &o})
	return d, err
}

// freeze stops the last node until the end of the turn. Its processor time is
// not counted from here on.
func (s *stage) freeze() {
	last := s.nodes.Len() - 1
	s.nodes.Pause(last)
	_ = s.clients[last].Close()
	delete(s.clients, last)
}

// metered adds the processor time of the servers during fn to its sample.
func (s *stage) metered(fn func() (turn.Sample, error)) (turn.Sample, error) {
	before, err := s.serverCPU()
	if err != nil {
		return turn.Sample{}, err
	}
	sample, err := fn()
	if err != nil {
		return turn.Sample{}, err
	}
	after, err := s.serverCPU()
	sample.ServerCPU = after - before
	return sample, err
}

// serverCPU is the processor time that the servers have used, system calls
// included.
func (s *stage) serverCPU() (sum time.Duration, err error) {
	for _, i := range slices.Sorted(maps.Keys(s.clients)) {
		info, err := s.clients[i].Info(s.ctx, "cpu").Result()
		if err != nil {
			return 0, fmt.Errorf("INFO cpu of node %d: %w", i, err)
		}
		cpu, err := parseCPU(info)
		if err != nil {
			return 0, fmt.Errorf("INFO cpu of node %d: %w", i, err)
		}
		sum += cpu
	}
	return sum, nil
}

// parseCPU adds up used_cpu_sys and used_cpu_user of INFO cpu.
func parseCPU(info string) (sum time.Duration, err error) {
	wanted := map[string]bool{"used_cpu_sys": true, "used_cpu_user": true}
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if !wanted[name] {
			continue
		}
		delete(wanted, name)
		seconds, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
		sum += time.Duration(seconds * float64(time.Second))
	}
	if len(wanted) > 0 {
		return 0, errors.New("the server does not report used_cpu_sys and used_cpu_user")
	}
	return sum, nil
}
