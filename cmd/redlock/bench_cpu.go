package main

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/nodeset"
)

// cpuTime is CPU time; negative if unknown.
type cpuTime struct{ servers, client time.Duration }

// add adds the CPU time between two readings.
func (c *cpuTime) add(before, after cpuTime) {
	c.servers = spent(c.servers, before.servers, after.servers)
	c.client = spent(c.client, before.client, after.client)
}

func spent(sum, before, after time.Duration) time.Duration {
	if sum < 0 || before < 0 || after < before {
		return -1
	}
	return sum + after - before
}

// cpuMeter reads the CPU time of all nodes together, and of this program, so
// far.
type cpuMeter struct {
	ctx   context.Context
	nodes []*nodeset.Node
}

func newCPUMeter(ctx context.Context, c *cluster.Cluster) *cpuMeter {
	return &cpuMeter{ctx, face.In(c).Nodes()}
}

func (m *cpuMeter) read() cpuTime {
	used := cpuTime{client: usedCPU()}
	for _, n := range m.nodes {
		cmd := redis.NewCmd(m.ctx, "info", "cpu")
		text := ""
		if n.Sharded() { // INFO would be answered by any of its servers
			used.servers = -1
			break
		}
		if err := n.Ask(m.ctx, cmd); err == nil {
			text, _ = cmd.Text()
		}
		server, ok := serverCPU(text)
		if !ok {
			used.servers = -1
			break
		}
		used.servers += server
	}
	return used
}

// serverCPU returns the CPU time of a server, from its INFO.
func serverCPU(info string) (sum time.Duration, ok bool) {
	found := 0
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "used_cpu_sys" && name != "used_cpu_user" {
			continue
		}
		if seconds, err := strconv.ParseFloat(value, 64); err == nil && seconds >= 0 && seconds < 1e9 {
			sum += time.Duration(seconds * float64(time.Second))
			found++
		}
	}
	return sum, found == 2
}
