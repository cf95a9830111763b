// Command client calls a service through the client that oapi-codegen generates, and
// prints what it answers.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"client.invalid/client"
)

func main() {
	c, err := client.NewClientWithResponses(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	if err := run(context.Background(), c); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, c *client.ClientWithResponses) error {
	path, limit := ".", 1
	keep, priority := client.KeepFirst, client.PriorityFolders{"."}
	request := client.ScanRequest{Path: &path, Limit: &limit, Keep: &keep, Priority: &priority}
	for {
		r, err := c.ScanWithResponse(ctx, request)
		if err != nil {
			return err
		}
		if r.JSON200 == nil {
			return fmt.Errorf("the scan is refused: %s", r.Status())
		}
		for _, g := range r.JSON200.Groups {
			fmt.Println("group", g.Size, len(g.Files), g.Files[0].Path)
		}
		if request.Next = r.JSON200.Next; request.Next == nil {
			break
		}
	}
	opens := int64(100)
	bill, err := c.ProjectWithResponse(ctx, client.ProjectionRequest{Opens: &opens})
	if err != nil {
		return err
	}
	fmt.Println("total", bill.JSON200.TotalDecimal)
	path = "nowhere"
	refused, err := c.ScanWithResponse(ctx, client.ScanRequest{Path: &path})
	if err != nil {
		return err
	}
	fmt.Println("refused", refused.ApplicationproblemJSON404.Status)
	return runJob(ctx, c)
}

// runJob does the same with a job.
func runJob(ctx context.Context, c *client.ClientWithResponses) error {
	key := "a key"
	params := &client.CreateJobParams{IdempotencyKey: &key}
	begun, err := c.CreateJobWithResponse(ctx, params, client.JobRequest{})
	if err != nil {
		return err
	}
	if begun.JSON202 == nil {
		return fmt.Errorf("the job is refused: %s %s", begun.Status(), begun.Body)
	}
	again, err := c.CreateJobWithResponse(ctx, params, client.JobRequest{})
	if err != nil {
		return err
	}
	id := begun.JSON202.Id
	fmt.Println("the same job", again.JSON202.Id == id)
	for {
		job, err := c.GetJobWithResponse(ctx, id)
		if err != nil {
			return err
		}
		if job.JSON200.Done {
			fmt.Println("job", job.JSON200.Metadata.State, job.JSON200.Response.Files)
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	limit := 1
	page := &client.GetJobReportParams{Limit: &limit}
	for {
		r, err := c.GetJobReportWithResponse(ctx, id, page)
		if err != nil {
			return err
		}
		for _, g := range r.JSON200.Groups {
			fmt.Println("group", g.Size, len(g.Files), g.Files[0].Path)
		}
		if page.Next = r.JSON200.Next; page.Next == nil {
			break
		}
	}
	return nil
}
