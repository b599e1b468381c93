package main

import (
	"os"
	"strings"

	"github.com/venta-hq/redlock/cluster"
)

// nodesFlag says which nodes to use.
type nodesFlag struct {
	Nodes     string `help:"The nodes' URLs, separated by commas or spaces. Other users see them in the list of processes: put passwords into a file. Default: $REDLOCK_NODES." placeholder:"URL,URL,…"`
	NodesFile string `name:"nodes-file" help:"A file with the nodes' URLs, separated by commas, spaces or lines. Default: $REDLOCK_NODES_FILE." placeholder:"FILE"`
	Quorum    int    `env:"REDLOCK_QUORUM" placeholder:"N" help:"How many nodes must agree: cluster.Config.Quorum of every process on these nodes. Default: $REDLOCK_QUORUM, or a majority."`
}

// nodesVariable holds the nodes' URLs, with passwords maybe.
const nodesVariable = "REDLOCK_NODES"

// urls are the nodes, or an error that says how to name some.
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

// config is the set of nodes.
func (f nodesFlag) config() (cluster.Config, error) {
	urls, err := f.urls()
	if least := cluster.Quorum(len(urls)); err == nil && f.Quorum != 0 && (f.Quorum < least || f.Quorum > len(urls)) {
		err = misused("--quorum %d: of %s it is from %d, a majority, to %d", f.Quorum, plural(len(urls), "node", "nodes"), least, len(urls))
	}
	return cluster.Config{URLs: urls, Quorum: f.Quorum, MaxTTL: maxTTL, NodeTimeout: nodeTimeout}, err
}

// text is the URLs from where they are given: a flag comes before a variable.
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

// splitURLs takes commas and white space as separators; URLs hold neither unless they are percent-encoded.
func splitURLs(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' || r == '\n' || r == '\r' })
}

// invocation is how this program was called, for lines to copy.
func invocation() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/redlock"
	}
	return "redlock"
}
