package redisserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"
)

// slots is the number of hash slots of a Redis Cluster.
const slots = 16384

// Sharded is a Redis Cluster of masters without replicas, which share the keys
// evenly: one node of several servers. Its servers are Nodes.
type Sharded struct{ *Nodes }

// StartSharded starts a Redis Cluster of n masters and returns when all of them
// take commands. Each server keeps an append-only file, and keeps its place in
// the cluster over every restart. The caller must call Close when it is done.
func StartSharded(n int, o Options) (*Sharded, error) {
	o.Persist = true
	// A killed master stays in the cluster long enough to be restarted.
	o.Args = append([]string{"--cluster-enabled", "yes", "--cluster-node-timeout", "2000"}, o.Args...)
	nodes, err := Start(n, o)
	if err != nil {
		return nil, err
	}
	s := &Sharded{nodes}
	if err := s.form(); err != nil {
		s.Close()
		return nil, fmt.Errorf("redisserver: Redis Cluster: %w", err)
	}
	return s, nil
}

// form assigns every server its share of the slots and introduces it to the
// first.
func (s *Sharded) form() error {
	host, port, err := net.SplitHostPort(s.nodes[0].addr())
	if err != nil {
		return err
	}
	for i, n := range s.nodes {
		assign := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * slots / len(s.nodes); slot < (i+1)*slots/len(s.nodes); slot++ {
			assign = append(assign, strconv.Itoa(slot))
		}
		commands := [][]string{assign, {"CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i + 1)}}
		if i > 0 {
			commands = append(commands, []string{"CLUSTER", "MEET", host, port})
		}
		for _, args := range commands {
			if _, err := n.ask(args...); err != nil {
				return err
			}
		}
	}
	return s.AwaitOK()
}

// AwaitOK waits until every server takes commands for all slots.
func (s *Sharded) AwaitOK() error {
	for _, n := range s.nodes {
		if err := n.await("all to know each other", "cluster_known_nodes", strconv.Itoa(len(s.nodes)), "CLUSTER", "INFO"); err != nil {
			return err
		}
		if err := n.await("the cluster to form", "cluster_state", "ok", "CLUSTER", "INFO"); err != nil {
			return err
		}
	}
	return nil
}

// URL returns the address of the node, as package cluster takes it: those of
// all servers.
func (s *Sharded) URL() string {
	hosts := make([]string, len(s.nodes))
	for i, n := range s.nodes {
		hosts[i] = n.addr()
	}
	return s.nodes[0].url() + "?addr=" + strings.Join(hosts, "&addr=")
}
