package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
)

// A set of three nodes goes on when one of them stops.
func Example() {
	nodes, err := embedded.Start(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	nodes.Stop(2)

	ctx := context.Background()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)
	up := 0
	for _, s := range c.Status() {
		if s.Up {
			up++
		}
	}
	fmt.Printf("%d of %d nodes are up, %d are needed\n", up, len(c.Status()), c.Quorum())
	// Output: 2 of 3 nodes are up, 2 are needed
}

// Without a quorum nothing can be decided, and the error says what each node had to say.
func ExampleOpen_noQuorum() {
	nodes, err := embedded.Start(3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	nodes.Stop(1)
	nodes.Stop(2)

	cfg := cluster.Config{URLs: nodes.URLs(), NodeTimeout: 100 * time.Millisecond}
	_, err = cluster.Open(context.Background(), cfg)
	var missing *cluster.QuorumError
	if errors.As(err, &missing) {
		fmt.Printf("%d of the %d nodes needed answered; %d did not\n", missing.Got, missing.Need, len(missing.Nodes))
	}
	fmt.Println(errors.Is(err, cluster.ErrNoQuorum))
	// Output:
	// 1 of the 2 nodes needed answered; 2 did not
	// true
}

// A configuration error names everything that is wrong at once.
func ExampleConfig() {
	_, err := cluster.Open(context.Background(), cluster.Config{
		URLs:      []string{"redis://10.0.0.1:6379", "redis://10.0.0.2:6379?tries=3"},
		MaxTTL:    100 * time.Millisecond,
		MaxQueued: 1,
	})
	for line := range strings.Lines(err.Error()) {
		fmt.Println(strings.Fields(line)[3])
	}
	fmt.Println(errors.Is(err, cluster.ErrConfig))
	// Output:
	// Config.MaxTTL:
	// Config.NodeTimeout:
	// Config.MaxQueued:
	// Config.URLs[1]:
	// true
}

// Check speaks of what could make locks unsafe.
func ExampleCluster_Check() {
	nodes, err := embedded.Start(2)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer nodes.Close()
	ctx := context.Background()
	c, err := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close(ctx)
	for _, finding := range c.Check(ctx) {
		if finding.Severity >= cluster.Warning {
			fmt.Println(finding)
		}
	}
	// Output: warning: set: 2 nodes tolerate no more failures than 1; use an odd number
}
