package nodeset

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// The name of a connection on a server (CLIENT LIST) says which list its
// process has, and how long its locks last. A resize waits until no process has
// the old list, and until every lock has expired.

const clientPrefix = "redlock:"

// resizeName is what a resize calls its connections.
const resizeName = clientPrefix + "resize"

// clientName is the name of this process's connections: the number of nodes it
// lists, their quorum, MaxTTL, a fingerprint of their names, and where it runs.
func (c *Set) clientName() string {
	sum := sha256.Sum256([]byte(strings.Join(slices.Sorted(slices.Values(c.nodeNames())), ",")))
	host, _ := os.Hostname()
	printable := func(r rune) rune {
		if r <= ' ' || r > '~' || r == ':' {
			return '_'
		}
		return r
	}
	return fmt.Sprintf("%s%d/%d:%v:%s:%s:%d", clientPrefix, len(c.nodes), c.Quorum(), c.cfg.MaxTTL, hex.EncodeToString(sum[:4]), strings.Map(printable, host), os.Getpid())
}

// nameSelf sets the name of a connection. It uses HELLO, which every user may
// send, unlike CLIENT SETNAME. It fails if the server is too old for it, or
// refuses the user; both are reported elsewhere.
func (n *Node) nameSelf(ctx context.Context, p redis.Pipeliner) {
	if n.protocol != 0 && n.clientName != "" {
		p.Do(ctx, "hello", n.protocol, "setname", n.clientName)
	}
}

// nameResize is nameSelf for a connection of a resize.
func (t target) nameResize(ctx context.Context, cn *redis.Conn) error {
	_, _ = cn.Pipelined(ctx, func(p redis.Pipeliner) error { return p.Do(ctx, "hello", t.protocol, "setname", resizeName).Err() })
	return nil
}

// program is what a connection's name says.
type program struct {
	nodes, quorum int
	maxTTL        time.Duration
	list          string
	host, pid     string
}

func (p program) String() string {
	return fmt.Sprintf("%s:%s (list %s of %d nodes)", p.host, p.pid, p.list, p.nodes)
}

// nameOf is the name in a line of CLIENT LIST.
func nameOf(line string) string {
	for word := range strings.FieldsSeq(line) {
		if name, found := strings.CutPrefix(word, "name="); found {
			return name
		}
	}
	return ""
}

// programOf reads the name of a connection.
func programOf(name string) (p program, ok bool) {
	name, found := strings.CutPrefix(name, clientPrefix)
	parts := strings.Split(name, ":")
	if !found || len(parts) != 5 {
		return program{}, false
	}
	nodes, quorum, _ := strings.Cut(parts[0], "/")
	var errs [3]error
	p.nodes, errs[0] = strconv.Atoi(nodes)
	p.quorum, errs[1] = strconv.Atoi(quorum)
	p.maxTTL, errs[2] = time.ParseDuration(parts[1])
	p.list, p.host, p.pid = parts[2], parts[3], parts[4]
	return p, errs == [3]error{}
}
