import { Link } from "@tanstack/react-router";
import { Compass } from "lucide-react";
import { Empty } from "../ui/Feedback";

export function Missing() {
  return (
    <Empty icon={Compass} title="There is nothing at this address">
      <p>
        The console begins at <Link to="/runs">Runs</Link>; the API's documentation is at{" "}
        <a href="/docs">/docs</a>.
      </p>
    </Empty>
  );
}
