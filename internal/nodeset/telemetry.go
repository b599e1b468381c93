package nodeset

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/telemetry"
)

// Telemetry receives the reports of the packages above. It is nil, which can be
// used, if nothing is reported.
func (c *Set) Telemetry() *telemetry.Telemetry { return c.tel }

// watch has the state of the set and its nodes read when the metrics are collected.
func (c *Set) watch() {
	if c.cfg.MeterProvider == nil {
		return
	}
	for _, n := range c.nodes {
		c.tel.Watch(telemetry.NodeAttr, n.name, n.see)
	}
	c.tel.Watch(telemetry.NodesAttr, c.Names(), func(see telemetry.See) {
		see(telemetry.ClusterSpare, float64(c.spare()))
		stage, _, _ := c.resizeStage()
		see(telemetry.ClusterResize, float64(stage))
	})
}

// spare is how many more nodes are up and vote than a quorum needs.
func (c *Set) spare() int {
	able, now := 0, time.Now()
	for _, n := range c.nodes {
		if n.down.Load() == nil && n.votes(now) {
			able++
		}
	}
	return able - c.Quorum()
}

func (n *Node) see(see telemetry.See) {
	up, quarantine := 0., n.quarantined(time.Now()).Seconds()
	if n.down.Load() == nil {
		up = 1
	}
	queued := n.queued()
	n.mu.Lock()
	owed, offset, known := len(n.pending)+len(n.refused.pending), n.offset, !n.facts.now.IsZero()
	n.mu.Unlock()
	see(telemetry.NodeUp, up)
	see(telemetry.NodeQuarantine, quarantine)
	see(telemetry.NodeQueue, float64(queued))
	see(telemetry.NodeOwed, float64(owed))
	if known {
		see(telemetry.NodeClockOffset, offset.Seconds())
	}
}

// report says how long a batch took, and what went wrong with it.
func (n *Node) report(began time.Time, batch []redis.Cmder) {
	if n.tel == nil || len(batch) == 0 {
		return
	}
	n.tel.Answered(began)
	for _, cmd := range batch {
		n.reportError(cmd.Err())
	}
}

// reportOne is report for one command.
func (n *Node) reportOne(began time.Time, err error) {
	if n.tel != nil {
		n.tel.Answered(began)
		n.reportError(err)
	}
}

// reportError counts a failed command. A missing script, a missing key and
// Close are no failures.
func (n *Node) reportError(err error) {
	switch {
	case n.tel == nil || err == nil || errors.Is(err, redis.Nil) || errors.Is(err, redis.ErrClosed) || saidBy(err, "NOSCRIPT"):
	default:
		n.tel.Failed(errorClass(err))
	}
}

// errorClass is the kind of a node's error, of which there are few.
func errorClass(err error) string {
	var timeout net.Error
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, redis.ErrPoolTimeout):
		return "no_connection"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "refused"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed):
		return "closed"
	case errors.As(err, &cert):
		return "tls"
	case saidBy(err, "NOPERM"), saidBy(err, "NOAUTH"), saidBy(err, "WRONGPASS"):
		return "denied"
	case unable(err):
		return "unable"
	case saidBy(err, "OOM"):
		return "out_of_memory"
	case answered(err):
		return "reply"
	}
	return "_OTHER" // as the semantic conventions have it
}

// Names are the names of all nodes, with commas, which tell metrics of this set
// from those of another.
func (c *Set) Names() string {
	var names []string
	for _, n := range c.nodes {
		names = append(names, n.name)
	}
	return strings.Join(names, ",")
}
