package redisserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// masterName is the name of the master in the Sentinel of a Pair.
const masterName = "pair"

// Pair is a master with a replica, and a Sentinel that monitors them: one node
// that fails over. It writes no data to disk. Its methods must not be called by
// several goroutines at once.
type Pair struct {
	servers  *Nodes
	dir      string
	sentinel *node
	master   int
}

// StartPair starts a Pair and returns when the replica follows the master and
// the Sentinel knows both. The caller must call Close when it is done with it.
func StartPair() (*Pair, error) {
	servers, err := Start(2, Options{})
	if err != nil {
		return nil, err
	}
	p := &Pair{servers: servers}
	if err := p.form(); err != nil {
		p.Close()
		return nil, fmt.Errorf("redisserver: pair: %w", err)
	}
	return p, nil
}

func (p *Pair) form() error {
	master, replica := p.servers.nodes[0], p.servers.nodes[1]
	host, port, err := net.SplitHostPort(master.addr())
	if err != nil {
		return err
	}
	if _, err := replica.ask("REPLICAOF", host, port); err != nil {
		return err
	}
	if err := replica.await("the replica to follow", "master_link_status", "up", "INFO", "replication"); err != nil {
		return err
	}
	if p.dir, err = os.MkdirTemp("", "redisserver-"); err != nil {
		return err
	}
	// On a busy machine the Sentinel must not consider a live master down.
	config := fmt.Sprintf("sentinel monitor %[1]s %[2]s %[3]s 1\nsentinel down-after-milliseconds %[1]s 60000\nsentinel failover-timeout %[1]s 3000\n",
		masterName, host, port)
	if p.sentinel, err = newNode(master.path, filepath.Join(p.dir, "sentinel"), Options{}, 0, config); err != nil {
		return err
	}
	return p.sentinel.await("the Sentinel to know the replica", "master0",
		fmt.Sprintf("name=%s,status=ok,address=%s,slaves=1,sentinels=1", masterName, master.addr()), "INFO", "sentinel")
}

// URL returns the address of the node, as package cluster takes it: that of
// the Sentinel, with the name of the master.
func (p *Pair) URL() string {
	return "redis://" + p.sentinel.addr() + "?master_name=" + masterName + "&addr=" + p.sentinel.addr()
}

// Servers returns the addresses of the servers that run, the master's first.
// They stay the same, except for the server that FailOver killed.
func (p *Pair) Servers() []string {
	var urls []string
	for i := range p.servers.nodes {
		n := p.servers.nodes[(p.master+i)%2]
		n.mu.Lock()
		if n.proc != nil {
			urls = append(urls, n.url())
		}
		n.mu.Unlock()
	}
	return urls
}

// FailOver kills the master with SIGKILL and returns when the Sentinel has
// promoted the replica. A Pair can fail over once.
func (p *Pair) FailOver() error {
	if p.master != 0 {
		return errors.New("redisserver: pair: it has failed over before")
	}
	p.servers.Stop(0)
	p.master = 1
	if _, err := p.sentinel.ask("SENTINEL", "SET", masterName, "down-after-milliseconds", "200"); err != nil {
		return fmt.Errorf("redisserver: pair: %w", err)
	}
	return p.servers.nodes[1].await("the replica to be promoted", "role", "master", "INFO", "replication")
}

// Stop kills all servers of the node, but not the Sentinel.
func (p *Pair) Stop() {
	for i := range p.servers.nodes {
		p.servers.Stop(i)
	}
}

// Close kills all processes, waits for their end and removes their files. It
// can be called more than once.
func (p *Pair) Close() {
	if p.sentinel != nil {
		p.sentinel.close()
	}
	p.servers.Close()
	_ = os.RemoveAll(p.dir) // remaining files are in the system's temporary directory
}

// ask makes the server execute one command whose reply is a string.
func (n *node) ask(args ...string) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc == nil {
		return "", errors.New("the server is stopped")
	}
	c, err := dial(n)
	if err != nil {
		return "", err
	}
	defer c.close()
	return c.do(args...)
}

// await waits until a field of the reply to a command has the wanted value, or
// at least the wanted parts of a value such as "keys=1,expires=0": other parts
// differ between servers.
func (n *node) await(what, field, want string, args ...string) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		reply, err := n.ask(args...)
		got := infoFields(reply)[field]
		if err == nil && hasParts(got, want) {
			return nil
		}
		select {
		case <-deadline.C:
			return fmt.Errorf("waited %v without success for %s: %s is %q, want %q: %w", startTimeout, what, field, got, want, err)
		case <-poll.C:
		}
	}
}

// hasParts reports whether each part of want, separated by commas, is one of value's.
func hasParts(value, want string) bool {
	parts := strings.Split(value, ",")
	for part := range strings.SplitSeq(want, ",") {
		if !slices.Contains(parts, part) {
			return false
		}
	}
	return true
}

// writeConfig writes the configuration of a Sentinel, which it rewrites itself.
func (n *node) writeConfig() error {
	text := "bind 127.0.0.1\nport " + strconv.Itoa(n.port) + "\ndir \"" + n.dir + "\"\n" + n.sentinel
	return os.WriteFile(n.configFile(), []byte(text), 0o600)
}

func (n *node) configFile() string { return filepath.Join(n.dir, "sentinel.conf") }
