package redisserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Options says how the nodes are run. The zero value means nodes without
// password and TLS that keep no data over a restart.
type Options struct {
	// Persist makes the nodes keep an append-only file, synced every second,
	// which survives a kill. Without it they write nothing to disk.
	Persist bool
	// Args are further arguments of redis-server, after those that this
	// package chooses, such as "--maxmemory", "1mb".
	Args []string
	// Env, if not nil, returns additions to a node's environment, such as
	// "LD_PRELOAD=…".
	Env func(node int) []string
	// Disk, if not empty, is the size of the disk that a node writes to, such
	// as "16m": a new tmpfs for each of its processes, so that no data outlives
	// a restart. It needs Linux, and root.
	Disk string
	// Password, if not empty, is the password that clients must use
	// (requirepass). The URLs contain it.
	Password string
	// TLS, if not nil, makes the nodes accept only TLS connections. Clients
	// need no certificate, unless Args say so.
	TLS *TLS
}

// TLS names the PEM files of a server.
type TLS struct {
	CertFile, KeyFile, CAFile string
}

// check reports everything that is wrong with the arguments of Start at once.
func (o Options) check(n int) error {
	var faults []error
	if n < 1 {
		faults = append(faults, fmt.Errorf("redisserver: n is %d: ask for at least one node", n))
	}
	if o.TLS != nil {
		for _, f := range []struct{ field, file string }{
			{"CertFile", o.TLS.CertFile}, {"KeyFile", o.TLS.KeyFile}, {"CAFile", o.TLS.CAFile},
		} {
			if _, err := os.Stat(f.file); err != nil {
				faults = append(faults, fmt.Errorf("redisserver: Options.TLS.%s %q: %w", f.field, f.file, err))
			}
		}
	}
	return errors.Join(faults...)
}

// Nodes is a set of redis-server processes. Its methods can be called by
// several goroutines at once. They panic if a node's index is not in the range
// 0 to Len()-1.
type Nodes struct {
	dir   string
	nodes []*node
}

// Start starts n nodes and returns when each of them answers. The caller must
// call Close when it is done with them.
func Start(n int, o Options) (*Nodes, error) {
	if err := o.check(n); err != nil {
		return nil, err
	}
	path, err := Available()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "redisserver-")
	if err != nil {
		return nil, fmt.Errorf("redisserver: %w", err)
	}
	s := &Nodes{dir: dir}
	for i := range n {
		nd, err := newNode(path, filepath.Join(dir, strconv.Itoa(i)), o, i, "")
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("redisserver: node %d of %d: %w", i, n, err)
		}
		s.nodes = append(s.nodes, nd)
	}
	return s, nil
}

// URLs returns the nodes' addresses in the order of their indexes, each as
// "redis://127.0.0.1:PORT", with "rediss" if they speak TLS, and with the
// password if there is one. They stay the same over restarts.
func (s *Nodes) URLs() []string {
	urls := make([]string, len(s.nodes))
	for i, n := range s.nodes {
		urls[i] = n.url()
	}
	return urls
}

// Dir returns the directory of node i, in which its process runs and writes its
// files.
func (s *Nodes) Dir(i int) string { return s.node(i).dir }

// Len returns the number of nodes.
func (s *Nodes) Len() int { return len(s.nodes) }

// Stop kills node i with SIGKILL and waits for its end. Stopping a stopped node
// does nothing.
func (s *Nodes) Stop(i int) { s.node(i).stop() }

// Restart starts node i again on its port, after killing it if it is running
// or paused, and returns when it answers. If lose is true its data is gone. If
// lose is false its data is kept, which needs [Options].Persist; without that
// Restart fails and leaves the node as it was.
func (s *Nodes) Restart(i int, lose bool) error {
	if err := s.node(i).restart(lose); err != nil {
		return fmt.Errorf("redisserver: restart of node %d: %w", i, err)
	}
	return nil
}

// Pause freezes node i with SIGSTOP and returns once it is frozen. Pausing a
// paused or stopped node does nothing. Pause panics on systems without SIGSTOP.
func (s *Nodes) Pause(i int) { s.node(i).pause() }

// Resume lets node i continue with SIGCONT. Resuming a node that is not paused
// does nothing.
func (s *Nodes) Resume(i int) { s.node(i).resume() }

// Commands returns how many times node i executed each command since it last
// started, by the names of INFO commandstats, such as "evalsha" or
// "config|get". It does not count the commands of this package. It does count
// the commands within scripts, because the server does not distinguish them.
// The map is empty if the node is stopped, paused, or does not answer. The
// caller owns it.
func (s *Nodes) Commands(i int) map[string]int64 { return s.node(i).commands() }

// Close kills all nodes, waits for their end and removes their files. It can be
// called more than once.
func (s *Nodes) Close() {
	for _, n := range s.nodes {
		n.close()
	}
	_ = os.RemoveAll(s.dir) // remaining files are in the system's temporary directory
}

func (s *Nodes) node(i int) *node {
	if i < 0 || i >= len(s.nodes) {
		panic(fmt.Sprintf("redisserver: node %d does not exist: the set has %d nodes, counted from 0", i, len(s.nodes)))
	}
	return s.nodes[i]
}
