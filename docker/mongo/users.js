// Runs once, when the database is made. No user may do more than its work, and none may drop the database.
// Another user for another purpose belongs here, too.
const secret = (name) => fs.readFileSync(`/run/etl/${name}`, "utf8").trim();
const user = (name, password, role) =>
  db.getSiblingDB("admin").createUser({ user: name, pwd: secret(password), roles: [{ role: role, db: "etl" }] });

user("etl", "mongo_password", "read"); // the pipeline, which only reads
user("etl_writer", "mongo_writer_password", "readWrite"); // whoever makes documents: the DAG generate_data
user("analyst", "analyst_password", "read"); // people
