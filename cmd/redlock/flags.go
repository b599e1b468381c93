package main

import (
	"cmp"
	"os"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
)

// nodesFlag names the nodes to use.
type nodesFlag struct {
	Nodes     string `help:"The nodes' URLs, separated by commas or spaces. Other users see them in the list of processes: put passwords into a file. Default: $REDLOCK_NODES." placeholder:"URL,URL,…"`
	NodesFile string `name:"nodes-file" help:"A file with the nodes' URLs, separated by commas, spaces or lines. Default: $REDLOCK_NODES_FILE." placeholder:"FILE"`
	Quorum    *int   `env:"REDLOCK_QUORUM" placeholder:"N" help:"How many nodes must agree: cluster.Config.Quorum of every process on these nodes. Default: $REDLOCK_QUORUM, or a majority."`

	longest time.Duration // cluster.Config.MaxTTL; 0: the default
}

// nodesVariable holds the nodes' URLs, which can contain passwords.
const nodesVariable = "REDLOCK_NODES"

// urls returns the nodes' URLs, or an error that says how to name some.
func (f nodesFlag) urls() ([]string, error) {
	text, err := f.text()
	if err != nil {
		return nil, err
	}
	urls := splitURLs(text)
	if len(urls) == 0 {
		return nil, misused(`no nodes configured. Name the Redis servers that keep the locks, best 3 or 5 independent ones:
  export REDLOCK_NODES=redis://10.0.0.1:6379,redis://10.0.0.2:6379,redis://10.0.0.3:6379
or give them with --nodes-file or --nodes. To try it without any, start some in another shell:
  %s dev`, invocation())
	}
	return urls, nil
}

// config returns the configuration of the set of nodes.
func (f nodesFlag) config() (cluster.Config, error) {
	urls, err := f.urls()
	cfg := cluster.Config{URLs: urls, MaxTTL: cmp.Or(f.longest, maxTTL), NodeTimeout: nodeTimeout}
	if err == nil && f.Quorum != nil {
		if least := cluster.Quorum(len(urls)); *f.Quorum < least || *f.Quorum > len(urls) {
			err = misused("--quorum %d: with %s it must be from %d, a majority, to %d", *f.Quorum, plural(len(urls), "node", "nodes"), least, len(urls))
		}
		cfg.Quorum = *f.Quorum
	}
	return cfg, err
}

// text returns the URLs as they were given: a flag takes precedence over a
// variable.
func (f nodesFlag) text() (string, error) {
	if f.Nodes != "" && f.NodesFile != "" {
		return "", misused("--nodes, --nodes-file: give one of them")
	}
	file := f.NodesFile
	if f.Nodes == "" && file == "" {
		if text := os.Getenv(nodesVariable); text != "" {
			return text, nil
		}
		file = os.Getenv(nodesVariable + "_FILE")
	}
	if file == "" {
		return f.Nodes, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", misused("--nodes-file: %w", err)
	}
	return string(text), nil
}

// splitURLs splits text at commas and white space, which URLs contain only
// percent-encoded.
func splitURLs(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}

// viewFlags are the flags of every command that inspects the nodes.
type viewFlags struct {
	nodesFlag
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"FORMAT" help:"table or json. Default ${default}."`
}

// lockFlags are the flags of every command that inspects locks.
type lockFlags struct {
	viewFlags
	Prefix string `default:"lock:" help:"The prefix of all keys on the nodes. Default \"${default}\"."`
}

const operatorRights = `The nodes' user needs the right +scan in addition to those of locks.`

// runFlags are the flags of every command that runs another program under a
// lease.
type runFlags struct {
	nodesFlag
	Wait      *time.Duration `xor:"wait" placeholder:"D" help:"Wait at most this long for the lock, and for a quorum of the nodes, such as 30s or 5m. Without it, as long as it takes."`
	TTL       time.Duration  `name:"ttl" default:"10s" placeholder:"D" help:"How long the lock outlives a crash of this machine; it is renewed while CMD runs. Default ${default}, at most 60s."`
	Grace     time.Duration  `default:"5s" placeholder:"D" help:"When the lock is lost: how long after SIGTERM to send SIGKILL. Default ${default}."`
	Prefix    string         `default:"lock:" help:"The prefix of all keys on the nodes. Default \"${default}\"."`
	PassNodes bool           `name:"pass-nodes" help:"Leave REDLOCK_NODES, which may hold passwords, in the environment of CMD: for one that uses redlock itself."`
	Verbose   bool           `short:"v" xor:"talk" help:"Report when the command waits for the lock, acquires it and releases it."`
	Quiet     bool           `short:"q" xor:"talk" help:"Do not warn of nodes that are down."`
}

// check removes "--" from the command, and reports faults of the command and
// the flags.
func (f *runFlags) check(command *[]string, usage string, bad func(format string, args ...any)) {
	if len(*command) > 0 && (*command)[0] == "--" {
		*command = (*command)[1:]
	}
	if len(*command) == 0 {
		bad("no command, as in: %s", usage)
	}
	if f.Wait != nil && *f.Wait < 0 {
		bad("--wait %v: negative; without --wait, the command waits as long as it takes", *f.Wait)
	}
	if f.TTL > maxTTL {
		bad("--ttl %v: longer than %v, after which the nodes consider every lock gone; the lock is renewed while CMD runs, "+
			"so a short TTL does not limit it", f.TTL, maxTTL)
	}
	if f.TTL <= 3*nodeTimeout {
		bad("--ttl %v: must exceed %v, three times NodeTimeout", f.TTL, 3*nodeTimeout)
	}
	if f.Grace < 0 {
		bad("--grace %v: negative; 0 kills at once", f.Grace)
	}
	if f.Prefix == "" {
		bad("--prefix: is empty")
	}
}
