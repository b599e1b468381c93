package embedded

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// answer answers what miniredis does not know, or knows too little of, and
// reports whether it did.
func (p *process) answer(c *conn, cmd string, args []string) bool {
	sp := c.peer
	sub := ""
	if len(args) > 0 {
		sub = strings.ToUpper(args[0])
	}
	switch {
	case cmd == "INFO":
		sp.WriteBulk(p.info(args))
	case cmd == "CONFIG" && sub == "GET" && len(args) > 1:
		writeConfig(sp, args[1:])
	case cmd == "CONFIG":
		sp.WriteError(fmt.Sprintf("ERR unknown subcommand or wrong number of arguments for '%s': an embedded node knows CONFIG GET", sub))
	case cmd == "CLIENT" && sub == "SETINFO" && len(args) == 3:
		sp.WriteOK()
	case cmd == "CLIENT" && sub == "ID" && len(args) == 1:
		sp.WriteInt(int(c.id))
	case cmd == "CLIENT" && sub == "LIST" && len(args) == 1:
		sp.WriteBulk(p.clientList())
	case cmd == "HELLO":
		c.takeName(args)
		return false // miniredis answers
	case cmd == "CLIENT" && sub == "PAUSE" && len(args) > 1:
		lasts, err := strconv.ParseInt(args[1], 10, 32)
		if err != nil || lasts < 0 || len(args) > 2 && !strings.EqualFold(args[2], "ALL") {
			sp.WriteError("ERR CLIENT PAUSE takes milliseconds, and ALL: an embedded node knows no other mode")
			break
		}
		sp.WriteOK()
		p.pause(time.Duration(lasts) * time.Millisecond)
	default:
		return false
	}
	return true
}

// infoSection is one section of INFO: a title, and lines of "field:value".
type infoSection struct {
	title string
	lines []string
}

// info returns the sections named in want, in the format of Redis. All of them
// if none is named.
func (p *process) info(want []string) string {
	var b strings.Builder
	for _, s := range p.infoSections() {
		if !wanted(s.title, want) {
			continue
		}
		if b.Len() > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString("# " + s.title + "\r\n")
		for _, line := range s.lines {
			b.WriteString(line + "\r\n")
		}
	}
	return b.String()
}

func wanted(title string, want []string) bool {
	if len(want) == 0 {
		return true
	}
	for _, w := range want {
		switch strings.ToLower(w) {
		case "all", "default", "everything", strings.ToLower(title):
			return true
		}
	}
	return false
}

func (p *process) infoSections() []infoSection {
	now := time.Now()
	uptime := int64(now.Sub(p.started) / time.Second)
	clients, connections, commands := p.totals()
	return []infoSection{
		{"Server", []string{
			"redis_version:7.0.0",
			"server_name:redlock-embedded",
			"redis_mode:standalone",
			"run_id:" + p.runID,
			"tcp_port:" + portOf(p.listener.Addr().String()),
			fmt.Sprintf("server_time_usec:%d", now.UnixMicro()),
			fmt.Sprintf("uptime_in_seconds:%d", uptime),
			fmt.Sprintf("uptime_in_days:%d", uptime/(24*60*60)),
		}},
		{"Clients", []string{fmt.Sprintf("connected_clients:%d", clients)}},
		{"Memory", []string{"maxmemory:0", "maxmemory_policy:noeviction"}},
		{"Persistence", []string{"loading:0", "aof_enabled:0"}},
		{"Stats", []string{
			fmt.Sprintf("total_connections_received:%d", connections),
			fmt.Sprintf("total_commands_processed:%d", commands),
		}},
		{"Replication", []string{"role:master", "connected_slaves:0"}},
	}
}

// totals returns the number of clients that are connected, of connections since
// the start, and of commands since the start.
func (p *process) totals() (clients int, connections, commands int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.counts {
		commands += n
	}
	return len(p.conns), p.accepted, commands
}

func portOf(addr string) string { return addr[strings.LastIndexByte(addr, ':')+1:] }

// config holds the settings CONFIG GET knows, sorted by name: the ones that
// decide what a node forgets, and when.
var config = [...]struct{ name, value string }{
	{"appendfsync", "everysec"},
	{"appendonly", "no"},
	{"maxmemory", "0"},
	{"maxmemory-policy", "noeviction"},
	{"no-appendfsync-on-rewrite", "no"},
	{"save", ""},
}

// writeConfig answers CONFIG GET: each setting that matches a pattern, once, as
// a map, or as a flat array to a client that speaks RESP2.
func writeConfig(sp *server.Peer, patterns []string) {
	var found []string
	for _, s := range config {
		if matchesAny(s.name, patterns) {
			found = append(found, s.name, s.value)
		}
	}
	sp.Block(func(w *server.Writer) {
		w.WriteMapLen(len(found) / 2)
		for _, s := range found {
			w.WriteBulk(s)
		}
	})
}

func matchesAny(name string, patterns []string) bool {
	for _, p := range patterns {
		if ok, err := path.Match(strings.ToLower(p), name); ok && err == nil {
			return true
		}
	}
	return false
}
