package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"
)

// dynalite is where a server is that is compatible with DynamoDB, if it is.
const dynalite = "../../build/dynalite"

// table NAME starts a server that is compatible with DynamoDB and has a table, and
// sets the environment to lead to it. It ends with the script.
func table(ts *testscript.TestScript, neg bool, args []string) {
	dir, err := filepath.Abs(dynalite)
	ts.Check(err)
	cmd := exec.Command("node", "-e", serveTable, args[0])
	cmd.Dir = dir
	stdin, err := cmd.StdinPipe() // it ends when this does
	ts.Check(err)
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		stdin.Close()
		cmd.Wait()
	})
	port, err := bufio.NewReader(out).ReadString('\n')
	ts.Check(err)
	ts.Setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:"+strings.TrimSpace(port))
	ts.Setenv("AWS_REGION", "us-east-1")
	ts.Setenv("AWS_ACCESS_KEY_ID", "id")
	ts.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
}

// serveTable prints the server's port when the table is there. The server takes any
// signature.
const serveTable = `
	const server = require("dynalite")({createTableMs: 0, deleteTableMs: 0})
	const call = async (operation, body) => (await fetch("http://127.0.0.1:" + server.address().port, {method: "POST", body: JSON.stringify(body), headers: {
		"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "DynamoDB_20120810." + operation, "X-Amz-Date": "20261127T000000Z",
		"Authorization": "AWS4-HMAC-SHA256 Credential=id/20261127/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"}})).json()
	server.listen(0, "127.0.0.1", async () => {
		const TableName = process.argv[1]
		await call("CreateTable", {TableName, BillingMode: "PAY_PER_REQUEST", KeySchema: [{AttributeName: "key", KeyType: "HASH"}],
			AttributeDefinitions: [{AttributeName: "key", AttributeType: "B"}]})
		while ((await call("DescribeTable", {TableName})).Table.TableStatus != "ACTIVE");
		console.log(server.address().port)
	})
	process.stdin.on("end", () => process.exit(0)).resume()`
